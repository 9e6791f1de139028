"""What the page is told: the boards, with of each row what the table, the filters and the charts need.

All numbers are those of `harness.board.board`; nothing is computed here. Texts that many lines share stand once, in
`texts`, and lines hold their places: a board of 10,000 rows stays a few megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.board.curves import Point, curves
from harness.board.intervals import Interval
from harness.board.marks import Comparison
from harness.board.rows import Row
from harness.canonical import Json, canonical

FEW = 40
"""Of so many rows the page also says what befell their answers; of more, each row's own page says it alone."""

DIGITS = 7
"""Decimals of a share: more than any page shows."""


@dataclass(frozen=True)
class Event:
    """What happened to a published row: it was added, superseded another, or was retracted."""

    kind: Literal["add", "supersede", "retract"]
    row: str
    at: str
    """UTC, ISO 8601."""
    reason: str = ""
    supersedes: str | None = None


@dataclass(frozen=True)
class History:
    """What a ledger tells of its rows."""

    events: tuple[Event, ...] = ()
    """Oldest first."""
    head: str | None = None
    """The digest of its last entry; None where there is no ledger."""

    @property
    def since(self) -> dict[str, str]:
        """When each row was published."""
        return {event.row: event.at for event in self.events if event.kind != "retract"}


NO_HISTORY = History()


class Texts:
    """Values that stand once: `place` says where."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.values: list[Json] = []

    def place(self, value: Json) -> int:
        """Where the value stands among `values`."""
        key = canonical(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


@dataclass(frozen=True)
class Rows:
    """What is known of rows, by their ids."""

    rows: Mapping[str, Row]
    pages: Mapping[str, str]
    """Their pages of data."""
    history: History = NO_HISTORY

    def named(self, row_id: str) -> Json:
        """How a row is spoken of where it may be on no board."""
        return {"row": row_id, "arm": self.rows[row_id].result.arm, "page": self.pages[row_id]}


def board_content(board: Board, rows: Rows) -> Json:
    """One board."""
    texts, since = Texts(), rows.history.since
    first = rows.rows[board.lines[0].row].result
    return {
        "title": text.title(board),
        "suite_sha256": board.suite_sha256,
        "recipe_sha256": board.recipe_sha256,
        "composite": board.composite,
        "limit": board.limit,
        "level": board.level,
        "margin": board.margin,
        "engine": first.engine,
        "benchmarks": [
            {
                "name": name,
                "protocol": column.protocol,
                "higher_is_better": column.higher_is_better,
                "out_of": column.out_of,
                "bounded": column.bounded,
            }
            for name, column in board.benchmarks.items()
        ],
        "groups": [{"name": name, "benchmarks": list(names)} for name, names in first.suite.groups.items()],
        "legend": text.explanations(board),
        "notes": text.befallen(board) if len(board.lines) <= FEW else [],
        "curves": [
            {"setting": curve.setting, "rest": curve.rest, "points": [_point(point) for point in curve.points]}
            for curve in curves([line.arm for line in board.lines])
        ],
        "lines": [
            {
                **_line(board, line, rows.rows[line.row], texts),
                "page": rows.pages[line.row],
                "since": since.get(line.row),
            }
            for line in board.lines
        ],
        "texts": texts.values,
    }


def ledger_content(rows: Rows) -> Json:
    """How many entries the ledger has, and those that took rows away; None where there is no ledger."""
    history = rows.history
    if history.head is None:
        return None
    return {
        "entries": len(history.events),
        "head": history.head,
        "gone": [
            {
                "kind": event.kind,
                "at": event.at,
                "reason": event.reason,
                "row": rows.named(event.row),
                "supersedes": event.supersedes and rows.named(event.supersedes),
            }
            for event in history.events
            if event.kind != "add"
        ],
    }


def _line(board: Board, line: Line, row: Row, texts: Texts) -> Json:
    result = row.result
    return {
        "row": line.row,
        "arm": line.arm,
        "rank": line.rank,
        "ranks": None if line.rank_low is None else [line.rank_low, line.rank_high],
        "group": line.group,
        "baseline": line.baseline,
        "facts": [texts.place(fact) for fact in _facts(line)],
        "seeds": list(line.seeds),
        "examples": line.examples,
        "tokens": line.tokens,
        "device_hours": _rounded(line.device_hours),
        "model": texts.place({"name": model_name(result.model), "parameters": result.model.get("parameters")}),
        "plugins": [
            texts.place({"name": plugin.name, "version": plugin.version, "options": plugin.options})
            for plugin in result.plugins
        ],
        "data": [texts.place(name) for name in dict.fromkeys(data.name for data in result.data)],
        "judges": [texts.place(name) for name in judges(row)],
        "missing": [texts.place(name) for name in line.missing],
        "composite": _cell(line.composite, texts),
        "groups": [_cell(cell, texts) for cell in line.groups.values()],
        "cells": [_cell(line.cells[name], texts) for name in board.benchmarks],
    }


def _facts(line: Line) -> Iterator[str]:
    """What sets the line apart beside its numbers."""
    if line.match:
        yield f"matched, {line.match}"
    yield from (f"restarted: {stage}" for stage in line.restarted)
    if line.one_model:
        yield "one model, asked with each seed"


def _point(point: Point) -> Json:
    """`[number, value as it is written, which of the lines]`."""
    return [float(point.number), point.value, point.place]


def _cell(cell: Cell, texts: Texts) -> Json:
    """`[score, interval, items, missing, comparison]`."""
    return [
        _rounded(cell.score),
        _interval(cell.interval, texts),
        cell.items,
        cell.n_missing,
        cell.comparison and _comparison(cell.comparison, texts),
    ]


def _comparison(comparison: Comparison, texts: Texts) -> Json:
    """`[mark, provisional, blocked, adjusted p, that of equality, detectable, difference, interval, n, claim]`."""
    found = comparison.difference
    return [
        comparison.mark,
        int(comparison.provisional),
        texts.place(comparison.blocked),
        _rounded(comparison.adjusted_p),
        _rounded(comparison.adjusted_equivalence_p),
        _rounded(comparison.detectable),
        *([] if found is None else [_rounded(found.value), _interval(found.interval, texts), found.n, found.claim]),
    ]


def _interval(interval: Interval | None, texts: Texts) -> Json:
    """`[low, high, method]`."""
    return interval and [_rounded(interval.low), _rounded(interval.high), texts.place(interval.method)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def model_name(model: Mapping[str, Any]) -> str:
    """How people call a row's base model: its hub id, or what it was made as."""
    if model.get("id"):
        return str(model["id"])
    init = model.get("init") or {}
    return f"{init.get('architecture', 'model')} made for the run" if init else "a model without a name"


def judges(row: Row) -> Sequence[str]:
    """The judges of the row's benchmarks, each once: their models, or whatever else was noted of them."""
    evaluations = row.result.seeds[0].evaluations.values()
    found = [evaluation.prompts.get("judge") for evaluation in evaluations]
    names = [judge.get("model") or canonical(judge) if isinstance(judge, dict) else judge for judge in found if judge]
    return list(dict.fromkeys(map(str, names)))
