"""Samples as a table: for pandas, and as Parquet, CSV or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.files import explained, replacing
from harness.reading.evaluations import chosen, evaluations
from harness.reading.pairs import Pair
from harness.reading.samples import Sample, load, with_asked

if TYPE_CHECKING:
    import pandas as pd

NESTED = ("choices", "response", "extracted", "target", "scores", "judgments", "detail")
"""Columns whose values are not always texts; files other than JSON lines hold them as JSON."""


def load_samples(
    run: str | Path,
    *,
    task: str | Sequence[str] = (),
    arm: str | Sequence[str] = (),
    seed: int | Sequence[int] = (),
    store: str | Path = ".harness",
) -> pd.DataFrame:
    """The samples of a run, or of some of its benchmarks, arms and seeds, one a row.

    `run` is a run folder, its name in `runs/`, or the beginning of a published row's id. Columns: `run`, `arm`, `seed`,
    `task`, `protocol`, `id`, `doc_sha256`, `prompt` (what the last answer followed upon, as text), `choices` (of
    log-likelihoods), `response`, `finish`, `extracted`, `target`, `score`, `outcome`, `scores`, `judgments`, `detail`
    and `error`; None where there is nothing. Raises UserError for a run, benchmark, arm or seed that is not there, and
    for one that is not scored yet.
    """
    found = chosen(
        evaluations(run, Path(store)),
        tasks=[task] if isinstance(task, str) else task,
        arms=[arm] if isinstance(arm, str) else arm,
        seeds=[seed] if isinstance(seed, int) else seed,
    )
    return frame(row(sample) for sample in with_asked(load(found)))


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table; texts, lists and mappings stay as they are."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def row(sample: Sample) -> dict[str, Any]:
    """A sample's row."""
    one, line = sample.evaluation, sample.line
    return {
        "run": one.run,
        "arm": one.arm,
        "seed": one.seed,
        "task": one.task,
        "protocol": one.protocol,
        "id": sample.id,
        "doc_sha256": line["doc_sha256"],
        "prompt": prompt_text(sample),
        "choices": choices(sample),
        "response": line["response"],
        "finish": line.get("finish"),
        "extracted": line.get("extracted"),
        "target": line.get("target"),
        "score": sample.score,
        "outcome": sample.outcome,
        "scores": line["scores"],
        "judgments": line.get("judgments"),
        "detail": line.get("detail"),
        "error": line.get("error"),
    }


SHARED = ("seed", "task", "protocol", "id", "doc_sha256", "prompt", "choices", "target")
"""Columns of a pair that are the item's, or equal on both sides."""


def pair_row(pair: Pair) -> dict[str, Any]:
    """A pair's row: what the two share once, the rest as `run_a`, `run_b` and so on."""
    a, b = row(pair.a), row(pair.b)
    shared = {name: a[name] for name in SHARED}
    sides = {
        f"{name}_{side}": values[name] for name in a if name not in SHARED for side, values in (("a", a), ("b", b))
    }
    return {**shared, **sides, "difference": pair.difference}


def prompt_text(sample: Sample) -> str | None:
    """What the last answer followed upon: a text, or a conversation as `role: content`."""
    if not sample.asked:
        return None
    prompt = sample.asked[-1][-1]["prompt"]
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)


def choices(sample: Sample) -> list[str] | None:
    """The continuations that were scored; None where answers were generated."""
    requests = [request for requests in sample.asked or () for request in requests]
    found = [request["continuation"] for request in requests if "continuation" in request]
    return found or None


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as the file's ending says, whole or not at all. Raises UserError for another ending."""
    if path.suffix not in WRITERS:
        raise UserError(f"{path} is in no format that can be written", f"use {', '.join(WRITERS)}")
    with explained(path.parent, "--export"), replacing(path) as temporary:
        WRITERS[path.suffix](rows, temporary)


def _flat(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    def text(value: Any) -> Any:
        return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def nested(name: str) -> bool:
        return name.removesuffix("_a").removesuffix("_b") in NESTED

    return frame({name: text(value) if nested(name) else value for name, value in one.items()} for one in rows)


def _parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    _flat(rows).to_parquet(path, index=False)


def _csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    _flat(rows).to_csv(path, index=False)


def _json_lines(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")


WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
