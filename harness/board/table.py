"""The leaderboard on a terminal: a grid where the width allows it, a list of the arms where it does not."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.visible import in_one_line

LEGEND_WIDTH = 100
"""Columns; longer lines are hard to read."""

STYLES = {"+": "green", "-": "red", "=": "blue", "?": "dim"}


def spelled(said: str, style: str = "") -> Text:
    """Names and sentences of a row, which anybody may have written: in one line, and nothing of it obeyed."""
    return Text(in_one_line(said), style)


def print_board(board: Board, console: Console, *, ids: bool = False) -> None:
    """Print the board and its legend; with the beginnings of the rows' ids, by which other commands name them."""
    width = console.options.max_width
    grid = _grid(board, ids=ids)
    fits = console.measure(grid, options=console.options.update(width=10_000)).maximum <= width
    console.print(Padding(grid, (0, 0, 1, 0)) if fits else _list(board, ids=ids))
    for sentence in text.legend(board):
        console.print(spelled(sentence, "dim"), width=min(width, LEGEND_WIDTH))


def _grid(board: Board, *, ids: bool) -> Table:
    """Arms down, benchmarks across; in each cell the score, its interval, the difference and its interval."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("arm", no_wrap=True)
    for name, cell, scale in text.cells(board, board.lines[0]):
        table.add_column(Text("\n").join([spelled(name), Text(_about(cell, scale))]), no_wrap=True)
    for line in board.lines:
        table.add_row(_arm(line, ids=ids), *(_cell(cell, scale) for _, cell, scale in text.cells(board, line)))
        if line is not board.lines[-1]:
            table.add_row()
    return table


def _about(cell: Cell, scale: float) -> str:
    return ", ".join(filter(None, [text.items(cell), text.out_of(scale)]))


def _arm(line: Line, *, ids: bool) -> Text:
    return Text("\n").join([_head(line), *(Text("  ") + spelled(fact, "dim") for fact in _facts(line, ids=ids))])


def _head(line: Line) -> Text:
    """`2 (1-3) dmt+im`: its rank, and those it may have."""
    ranks = text.ranks(line)
    return Text(f"{line.rank or '-'} ") + Text(f"({ranks}) " if ranks else "", style="dim") + spelled(line.arm, "bold")


def _facts(line: Line, *, ids: bool) -> list[str]:
    facts = [text.seeds(line), *text.training(line)]
    return [*facts, f"id {line.row[:12]}"] if ids else facts


def _cell(cell: Cell, scale: float) -> Text:
    found = cell.comparison
    lines = [
        Text(text.score(cell, scale), style="bold"),
        Text(text.interval(cell.interval, scale), style="dim"),
        Text(f"{text.difference(found, scale)} {text.mark(found)}".strip(), style=STYLES[found.mark] if found else ""),
        Text(text.difference_interval(found, scale), style="dim"),
    ]
    return Text("\n").join([*lines, Text(text.missing(cell), style="yellow")] if cell.n_missing else lines)


def _list(board: Board, *, ids: bool) -> RenderableType:
    """One block an arm, one line a benchmark: any number of benchmarks, any width from about 60 columns."""
    blocks: list[RenderableType] = []
    for line in board.lines:
        facts = ", ".join(_facts(line, ids=ids))
        blocks.append(_head(line) + Text("  ") + spelled(facts, "dim"))
        table = Table.grid(padding=(0, 1))
        for name, cell, scale in text.cells(board, line):
            found = cell.comparison
            table.add_row(
                spelled(", ".join(filter(None, [name, _about(cell, scale), text.missing(cell)]))),
                Text(text.score(cell, scale), style="bold", justify="right"),
                Text(text.interval(cell.interval, scale), style="dim"),
                Text(text.difference(found, scale), justify="right"),
                Text(text.mark(found), style=STYLES[found.mark] if found else ""),
                Text(text.difference_interval(found, scale), style="dim"),
            )
        blocks.append(Padding(table, (0, 0, 1, 2)))
    return Group(*blocks)
