"""Contrasts on a terminal: who may stand where, then each comparison with its difference, interval and power."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.board import contrasttext as words
from harness.board import text
from harness.board.contrasts import Contrasts
from harness.board.table import LEGEND_WIDTH, STYLES, spelled

ROOMY = 100
"""Columns from which on the two scores stand beside their difference."""


def print_contrasts(made: Contrasts, console: Console) -> None:
    """Print all of it, then what the numbers mean."""
    width = min(console.width, LEGEND_WIDTH)
    suite = made.suite if made.suite_version is None else f"{made.suite} {made.suite_version}"
    console.print(spelled(f"suite {suite}, {text.COMPOSITE}: {made.composite}", "bold"))
    console.print(Padding(_ranking(made), (0, 0, 1, 0)))
    sides = {side.row: side for side in made.sides}
    for one in made.contrasts:
        arm, base = sides[one.arm], sides[one.base]
        console.print(spelled(f"{arm.label} against {base.label}", "bold"))
        console.print(spelled(words.claim(one, arm, base)), width=width)
        console.print(_table(list(words.rows(made, one, arm, base)), roomy=console.width >= ROOMY))
        for sentence in words.about(made, one, arm, base):
            console.print(spelled(sentence, "dim"), width=width)
        console.print()
    for sentence in words.legend(made):
        console.print(spelled(sentence, "dim"), width=width)


def _ranking(made: Contrasts) -> Table:
    table = _grid()
    for name in ("rank", "ranks", "group", "arm", "seeds", text.COMPOSITE, ""):
        table.add_column(name, no_wrap=name != "arm", overflow="fold")
    for side in made.sides:
        table.add_row(
            str(side.rank or "-"),
            f"{side.rank_low}-{side.rank_high}" if side.rank else "",
            str(side.group or ""),
            spelled(side.label, "bold"),
            str(len(side.seeds)),
            words.score(side.composite, text.WHOLE),
            Text(text.interval(side.interval), style="dim"),
        )
    return table


def _table(lines: list[words.Row], *, roomy: bool) -> Table:
    table = _grid()
    table.add_column("", overflow="fold")
    for name in (*(("arm", "other") if roomy else ()), "diff"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("", "95 % interval", "over", "p", "detects"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"p", "detects"} else "left")
    for name, scale, score, other, compared in lines:
        style = STYLES[compared.mark]
        table.add_row(
            spelled(name if scale == text.WHOLE else f"{name}, {text.out_of(scale)}"),
            *((words.score(score, scale), words.score(other, scale)) if roomy else ()),
            Text(text.difference(compared, scale), style=style),
            Text(text.mark(compared), style=style),
            Text(text.difference_interval(compared, scale), style="dim"),
            words.over(compared),
            words.p_value(compared.adjusted_p),
            words.detects(compared.detectable, scale),
        )
    return table


def _grid() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
