"""Hugging Face model-index: the YAML before a model card, one card a row.

Scores stand on their benchmark's scale (65.3 of 100), as model cards have them; the metric's name says under which
protocol and with which interval. What the hub calls a dataset's type is its id there, or the benchmark's name where
none was told.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.board import text
from harness.board.board import Line
from harness.board.export.selection import (
    Export,
    HubDataset,
    Selection,
    Told,
    base_model,
    file_name,
    hub_model,
    interval_in_words,
    model_name,
    seeds_in_words,
    shown,
    trained,
)
from harness.board.intervals import Interval
from harness.board.rows import Row
from harness.errors import UserError

TASK = "text-generation"
"""The hub's name for what every benchmark here asks of a language model."""


def as_model_index(selection: Selection, told: Told) -> Export:
    """A model card's front matter for every row. Raises UserError for a row without any score."""
    from huggingface_hub import EvalResult, ModelCardData

    files = {}
    for _, line, row in selection.lines():
        results = [
            EvalResult(
                task_type=TASK,
                task_name="Text Generation",
                dataset_type=dataset.id,
                dataset_name=benchmark,
                dataset_revision=dataset.revision,
                metric_type=metric.partition(",")[0],
                metric_name=name,
                metric_value=value,
                source_name="instruct-harness" if told.source else None,
                source_url=told.source,
            )
            for benchmark, dataset, metric, name, value in _metrics(line, row, told)
        ]
        if not results:
            raise UserError(f"the row of {row.result.arm} has no score", "export other rows with --row")
        base = base_model(row)
        card = ModelCardData(
            model_name=model_name(row, told),
            eval_results=results,
            base_model=base if base != hub_model(row, told) else None,
            datasets=_training_data(row) or None,
        )
        files[file_name(line, ".md")] = f"---\n{card.to_yaml()}\n---\n"
    return Export(files)


def _metrics(line: Line, row: Row, told: Told) -> Iterator[tuple[str, HubDataset, str, str, float]]:
    """Benchmark, dataset, metric, the metric's name and value; last the composite, whose dataset is the suite.

    The composite's interval is the board's: a row of one seed has none of its own.
    """
    for name, task in row.result.tasks.items():
        if task.score is not None:
            said = _in_words(task.score_name, task.protocol, task.interval, task.out_of, row)
            dataset = told.datasets.get(name) or HubDataset(name)
            yield name, dataset, task.score_name, said, shown(task.score, task.out_of)
    composite = row.result.composite
    if composite.score is not None:
        suite = row.result.suite.name
        said = _in_words(composite.rule, suite, line.composite.interval, text.WHOLE, row)
        yield suite, HubDataset(suite), text.COMPOSITE, said, shown(composite.score, text.WHOLE)


def _in_words(metric: str, protocol: str, interval: Interval | None, out_of: float, row: Row) -> str:
    between = interval_in_words(interval, out_of)
    return f"{metric} ({protocol}; out of {out_of:g}; {between}; {seeds_in_words(row)})"


def _training_data(row: Row) -> list[str]:
    """Hub ids of what it was trained on."""
    if not trained(row):
        return []
    sources = [data.source for data in row.result.data]
    return sorted({source["hub"] for source in sources if isinstance(source, dict) and "hub" in source})
