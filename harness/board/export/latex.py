r"""LaTeX: a table for every board, for `\usepackage{booktabs}`.

Each arm has its scores with their intervals, and under them its differences from the baseline with marks and intervals.
The best score of a column is bold only where it can be told apart from every other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.board.export.distinguishable import best_rows
from harness.board.export.selection import Export, Selection, Told
from harness.board.export.tex import escaped, number, raised, small, table
from harness.board.marks import Comparison

BOLD = "Bold: better than every other arm of its column, at 5 %, adjusted for all pairs of arms."


def as_latex(selection: Selection, told: Told) -> Export:  # noqa: ARG001 (a format)
    """Every board's table in one file."""
    tables = [
        _table(
            board,
            best_rows([selection.rows[line.row] for line in board.lines], selection.scores_of),
            text.legend(_with_baselines(board, selection)),
        )
        for board in selection.boards
    ]
    return Export({"board.tex": "% \\usepackage{booktabs}\n\n" + "\n".join(tables)})


def _with_baselines(board: Board, selection: Selection) -> Board:
    """What the legend speaks of: the lines, and those they are compared with."""
    named = dict.fromkeys(line.baseline for line in board.lines if line.baseline in selection.baselines)
    return board.model_copy(update={"lines": (*board.lines, *(selection.baselines[row] for row in named if row))})


def _table(board: Board, best: Mapping[str, str], legend: Sequence[str]) -> str:
    """The board as a floating table; `best` names the row that is bold in a column."""
    heads = [
        escaped(name) if scale == text.WHOLE else f"{escaped(name)} ({escaped(text.out_of(scale))})"
        for name, _, scale in text.cells(board, board.lines[0])
    ]
    said = [*legend, *([BOLD] if best else [])]
    return table(
        text.title(board),
        ["Arm", *heads],
        [_rows(board, line, best) for line in board.lines],
        " ".join(said),
    )


def _rows(board: Board, line: Line, best: Mapping[str, str]) -> list[list[str]]:
    """Score and interval, difference with mark and interval: one under the other, so that columns are narrow."""
    found = text.cells(board, line)
    about = ", ".join(filter(None, [text.seeds(line), text.ranks(line)]))
    differs = [(cell.comparison, scale) for _, cell, scale in found]
    rows = [
        [escaped(line.arm), *(_score(cell, scale, bold=best.get(name) == line.row) for name, cell, scale in found)],
        [small(escaped(about)), *(small(number(text.interval(cell.interval, s))) for _, cell, s in found)],
    ]
    if any(comparison for comparison, _ in differs):
        rows += [
            ["", *(_difference(comparison, scale) for comparison, scale in differs)],
            ["", *(small(number(text.difference_interval(comparison, scale))) for comparison, scale in differs)],
        ]
    return rows


def _score(cell: Cell, scale: float, *, bold: bool) -> str:
    written = number(text.score(cell, scale))
    return rf"\textbf{{{written}}}" if bold else written


def _difference(comparison: Comparison | None, scale: float) -> str:
    if comparison is None:
        return ""
    return number(text.difference(comparison, scale)) + raised(text.mark(comparison))
