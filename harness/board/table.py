"""The leaderboard on a terminal: a grid where the width allows it, a list of the arms where it does not."""

from __future__ import annotations

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.board import text
from harness.board.board import Board, Cell, Line

STYLES = {"+": "green", "-": "red", "?": "dim"}


def print_board(board: Board, console: Console) -> None:
    """Print the board and its legend, in the first layout that fits the console's width."""
    layouts = (_grid(board, inline=True), _grid(board, inline=False))
    width = console.options.max_width
    fitting = (layout for layout in layouts if console.measure(layout, options=_unbounded(console)).maximum <= width)
    console.print(next(fitting, None) or _list(board))
    for sentence in text.legend(board):
        console.print(Text(sentence, style="dim"), soft_wrap=False)


def _unbounded(console: Console) -> ConsoleOptions:
    return console.options.update(width=10_000)


def _grid(board: Board, *, inline: bool) -> Table:
    """Arms down, benchmarks across. `inline` puts an interval beside its number, else it stands below."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("arm", no_wrap=True)
    first = board.lines[0]
    for name, cell in _cells(first):
        table.add_column(f"{name}\n{text.items(cell)}", no_wrap=True)
    for line in board.lines:
        table.add_row(_arm(line, inline=inline), *(_cell(cell, inline=inline) for _, cell in _cells(line)))
        if line is not board.lines[-1]:
            table.add_row()
    return table


def _cells(line: Line) -> list[tuple[str, Cell]]:
    return [(text.COMPOSITE, line.composite), *line.cells.items()]


def _arm(line: Line, *, inline: bool) -> Text:
    head = Text(f"{line.rank or '-':>2} ") + Text(line.arm, style="bold")
    facts = [text.seeds(line), *(fact for fact in text.training(line) if fact)]
    below = [", ".join(facts)] if inline else facts
    return Text("\n").join([head, *(Text(f"   {fact}", style="dim") for fact in below)])


def _cell(cell: Cell, *, inline: bool) -> Text:
    score = [Text(text.score(cell), style="bold"), Text(text.interval(cell.interval), style="dim")]
    found = cell.comparison
    change = Text(f"{text.difference(found)} {text.mark(found)}".strip(), style=STYLES[found.mark] if found else "")
    difference = [change, Text(text.difference_interval(found), style="dim")]
    if inline:
        return Text("\n").join([Text(" ").join(score), Text(" ").join(difference)])
    return Text("\n").join([*score, *difference])


def _list(board: Board) -> RenderableType:
    """One block an arm, one line a benchmark: any number of benchmarks, any width from about 60 columns."""
    blocks: list[RenderableType] = []
    for line in board.lines:
        facts = ", ".join([text.seeds(line), *(fact for fact in text.training(line) if fact)])
        blocks.append(Text(f"{line.rank or '-'} ") + Text(line.arm, style="bold") + Text(f"  {facts}", style="dim"))
        table = Table.grid(padding=(0, 1))
        for name, cell in _cells(line):
            found = cell.comparison
            table.add_row(
                name,
                Text(text.score(cell), style="bold", justify="right"),
                Text(text.interval(cell.interval), style="dim"),
                Text(text.difference(found), justify="right"),
                Text(text.mark(found), style=STYLES[found.mark] if found else ""),
                Text(text.difference_interval(found), style="dim"),
            )
        blocks.append(Padding(table, (0, 0, 1, 2)))
    return Group(*blocks)
