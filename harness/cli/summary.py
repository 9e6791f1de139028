"""What a run's board comes to: which differences are real, and scores over what was swept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.board import text
from harness.board.curves import curves

if TYPE_CHECKING:
    from harness.board.board import Board, Cell, Line

VERDICTS = {"+": "better", "-": "worse", "=": "equal", "?": "not known to differ"}
BARS = " ▁▂▃▄▅▆▇█"
_INDENT = _GAP = 2

# --- differences ---------------------------------------------------------------------------------------------------


def print_verdicts(board: Board, console: Console) -> None:
    """Which arms differ from their baseline in the composite; nothing where only one arm is compared."""
    names = {line.row: line.arm for line in board.lines}
    compared = [line for line in board.lines if line.baseline and line.composite.comparison]
    if len(compared) <= 1:
        return
    for baseline in dict.fromkeys(line.baseline for line in compared if line.baseline):
        console.print(Text(f"\n{text.COMPOSITE}, against {names[baseline]}", style="bold"))
        for mark, words in VERDICTS.items():
            found = [_difference(line) for line in compared if line.baseline == baseline and _mark(line) == mark]
            if found:
                console.print(Padding(Text(f"{words}: {', '.join(found)}"), (0, 0, 0, 2), expand=False))


def _mark(line: Line) -> str:
    return line.composite.comparison.mark if line.composite.comparison else ""


def _difference(line: Line) -> str:
    return f"{line.arm} {text.difference(line.composite.comparison)}"


# --- curves --------------------------------------------------------------------------------------------------------


def print_curves(board: Board, console: Console) -> None:
    """Score against each swept number: a row for each benchmark, a column for each value, and a bar for each score."""
    for curve in curves([line.arm for line in board.lines]):
        points = [(point.value, board.lines[point.place]) for point in curve.points]
        console.print(Text(f"\n{curve.rest}, score against {curve.setting}", style="bold"))
        fitting = _columns(board, points, console.width)
        for start in range(0, len(points), fitting):
            grid = _grid(board, points[start : start + fitting], [line for _, line in points])
            console.print(Padding(grid, (0, 0, 0, _INDENT), expand=False))


def _columns(board: Board, points: Sequence[tuple[str, Line]], width: int) -> int:
    """How many values fit beside names and bars."""
    names = max(len(name) for name, _, _ in text.cells(board, board.lines[0]))
    values = max(len("100.0"), *(len(value) for value, _ in points))
    return max(1, (width - _INDENT - names - _GAP - len(points)) // (_GAP + values))


def _grid(board: Board, part: Sequence[tuple[str, Line]], whole: Sequence[Line]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True, style="cyan")
    for value, _ in part:
        table.add_column(value, justify="right", no_wrap=True)
    for n, (name, _, scale) in enumerate(text.cells(board, board.lines[0])):
        scores = [text.score(text.cells(board, line)[n][1], scale) for _, line in part]
        table.add_row(name, "".join(_bars([text.cells(board, line)[n][1] for line in whole])), *scores)
    return table


def _bars(cells: Sequence[Cell]) -> Iterator[str]:
    """A bar for each score from 0 to the full one; scores beyond are cut."""
    for cell in cells:
        share = min(max(cell.score or 0.0, 0.0), 1.0)
        yield BARS[round(share * (len(BARS) - 1))]
