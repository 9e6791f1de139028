"""The `prepare` job that curates: examples in, one file of chat rows for every portion out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.api import Curation, DataSource, Example, Item
from harness.canonical import Json, file_digest
from harness.context import Context
from harness.curation.tools import Tools
from harness.data.columns import REJECTED, check
from harness.data.mixtures import Materialised, materialise
from harness.engines.pool import Engines
from harness.errors import UserError
from harness.jobs import PrepareData
from harness.judge.calls import JudgeCalls
from harness.judge.settings import Judging

_SHORT = 120
"""Characters; what a curation tells at greater length does not fit into an error."""


def curate(
    declared: PrepareData,
    curation: Curation,
    data: Mapping[str, DataSource],
    context: Context,
    *,
    engines: Engines,
    judging: Judging | None = None,
    benchmark: Callable[[str], Sequence[Item]] | None = None,
) -> Json:
    """Curate and write `<portion>.jsonl`, with `engines` and the judge where asked for; the `result` and `measured`.

    `benchmark` gives all items of one that is declared.

    Raises UserError for a portion without examples, and for examples that are no conversations, have equal ids or meta
    that is no JSON.
    """
    started = time.perf_counter()
    read = materialise(declared.items, data, data_root=context.data_root, meta=True)
    examples = _together(read)
    with JudgeCalls(judging, Path(context.runtime["store"]), context.label, context.notice) as judge:
        tools = Tools(curation, declared, judge, engines, context, benchmark)
        made = curation.curate(examples, tools)
        taken = judge.taken()
    who = f"{declared.curator} of {', '.join(dict.fromkeys(item.data.name for item in declared.items))}"
    if (left := len({example.id for of in made.values() for example in of})) < len(examples):
        context.notice(f"{who}: {left:,} of {len(examples):,} examples are left")
    written = {
        portion: _write(context.folder, portion, made.get(portion, ()), who, tools.told)
        for portion in declared.portions
    }
    return {
        "result": {
            "from": len(examples),
            "examples": {portion: len(made[portion]) for portion in declared.portions},
            "content": written,
            "read": dict(read.contents),
            "told": tools.told,
        },
        "measured": {"seconds": time.perf_counter() - started, **tools.measured, **taken},
    }


def _together(read: Materialised) -> list[Example]:
    """The examples of all parents; ids of several are told apart by their datasets."""
    several = len(read.contents) > 1
    examples = [replace(one, id=f"{name}/{one.id}") if several else one for name, one in read.examples]
    if len({example.id for example in examples}) < len(examples):
        raise UserError("a curation is given some examples twice", "name each dataset once among its parents")
    return examples


def _write(folder: Path, portion: str, examples: Sequence[Example], who: str, told: Mapping[str, Json]) -> str:
    """One portion as chat rows; returns the file's digest."""
    if not examples:
        problem = f"{who}: nothing is left of {'it' if portion == 'all' else portion}{_in_short(told)}"
        raise UserError(problem, "loosen what selects, or give it more data")
    if len({example.id for example in examples}) < len(examples):
        raise UserError(f"{who}: the portion {portion} holds two examples of one id", "mend the plug-in")
    path = folder / f"{portion}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            check(example.messages, f"{who}, example {example.id}")
            file.write(_row(example, who) + "\n")
    return file_digest(path)


def _in_short(told: Mapping[str, Json]) -> str:
    """What the curation had to say in few words, to end an error's line with."""
    said = (f"; {name}: {json.dumps(value, default=str)}" for name, value in told.items())
    return "".join(one for one in said if len(one) <= _SHORT)


def _row(example: Example, who: str) -> str:
    """Meta as columns of their own, so that whoever curates this again finds it."""
    turns = [{"role": turn.role, "content": turn.content} for turn in example.messages]
    further = {
        name: value for name, value in example.meta.items() if name != REJECTED
    }  # it would make a pair of the row
    pair = {} if example.rejected is None else {REJECTED: example.rejected}
    row = {**further, "id": example.id, "messages": turns, **pair}
    try:
        return json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{who}, example {example.id}: meta is no JSON: {error}", "mend the plug-in") from None
