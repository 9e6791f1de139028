"""CSV: one line for each row and benchmark, its composite and its groups too.

Numbers are shares of 1 at full precision; `out_of` is the scale on which people read them. Spreadsheets run a text that
begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula (OWASP, CSV Injection): such a text, and one that
begins with an apostrophe, gets an apostrophe before it. Taking one leading apostrophe away so gives back every text.
Numbers are left alone.
"""

from __future__ import annotations

import csv
import io

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.board.export.selection import Export, Selection, Told
from harness.board.intervals import Interval
from harness.board.marks import Comparison
from harness.board.rows import Row

FULL_WIDTH = "\uff1d\uff0b\uff0d\uff20"
"""The first four below as wide as a Chinese character."""
FORMULA = ("=", "+", "-", "@", *FULL_WIDTH, "\t", "\r", "\n", "'")
"""Beginnings that a spreadsheet may take for a formula, and the mark that is put before them."""

MARKS = {"+": "better", "-": "worse", "=": "equal", "?": "unknown"}
"""The board's marks in words, which no spreadsheet runs."""

COLUMNS = (
    *(
        "suite",
        "recipe_sha256",
        "row",
        "rank",
        "rank_low",
        "rank_high",
        "arm",
        "match",
        "seeds",
        "examples",
        "tokens",
        "device_hours",
        "commit",
    ),
    *("benchmark", "protocol", "metric", "higher_is_better", "out_of"),
    *("score", "low", "high", "level", "interval"),
    *("items", "missing", "prompts_cut", "stopped_by_length", "unparsed"),
    *("baseline", "difference", "difference_low", "difference_high", "difference_level", "difference_interval"),
    *(
        "claim",
        "p",
        "adjusted_p",
        "equivalence_p",
        "adjusted_equivalence_p",
        "detectable",
        "mark",
        "provisional",
        "blocked",
    ),
)

Value = str | int | float | bool | None


def as_csv(selection: Selection, told: Told) -> Export:  # noqa: ARG001 (a format)
    """Everything in one file."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for board, line, row in selection.lines():
        for name, found, out_of in text.cells(board, line):
            record = _line(board, line, row) | _column(board, row, name, out_of) | _score(found)
            if found.comparison is not None:
                record |= {"baseline": line.baseline, **_comparison(found.comparison)}
            writer.writerow({name: cell(value) for name, value in record.items()})
    return Export({"board.csv": out.getvalue()})


def cell(value: Value) -> Value:
    """The value as a spreadsheet may open it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _line(board: Board, line: Line, row: Row) -> dict[str, Value]:
    return {
        "suite": text.title(board),
        "recipe_sha256": board.recipe_sha256,
        "row": line.row,
        "rank": line.rank,
        "rank_low": line.rank_low,
        "rank_high": line.rank_high,
        "arm": line.arm,
        "match": line.match,
        "seeds": " ".join(map(str, line.seeds)),
        "examples": line.examples,
        "tokens": line.tokens,
        "device_hours": line.device_hours,
        "commit": row.measured.git.commit if row.measured.git else None,
    }


def _column(board: Board, row: Row, name: str, out_of: float) -> dict[str, Value]:
    """What is scored; a composite or a group is scored by the board's rule."""
    task = row.result.tasks.get(name)
    return {
        "benchmark": name,
        "protocol": task.protocol if task else board.composite,
        "metric": task.score_name if task else None,
        "higher_is_better": task.higher_is_better if task else True,
        "out_of": out_of,
    }


def _score(found: Cell) -> dict[str, Value]:
    return {
        "score": found.score,
        **(_interval(found.interval) if found.interval else {}),
        "items": found.items,
        "missing": found.n_missing,
        "prompts_cut": found.prompts_cut,
        "stopped_by_length": found.stopped_by_length,
        "unparsed": found.unparsed,
    }


def _interval(interval: Interval, of: str = "") -> dict[str, Value]:
    return {
        f"{of}low": interval.low,
        f"{of}high": interval.high,
        f"{of}level": interval.level,
        f"{of}interval": interval.method,
    }


def _comparison(comparison: Comparison) -> dict[str, Value]:
    found: dict[str, Value] = {
        "adjusted_p": comparison.adjusted_p,
        "equivalence_p": comparison.equivalence_p,
        "adjusted_equivalence_p": comparison.adjusted_equivalence_p,
        "detectable": comparison.detectable,
        "mark": MARKS[comparison.mark],
        "provisional": comparison.provisional,
        "blocked": comparison.blocked,
    }
    difference = comparison.difference
    if difference is not None:
        found |= {"difference": difference.value, "claim": difference.claim, "p": difference.p}
        found |= _interval(difference.interval, "difference_") if difference.interval else {}
    return found
