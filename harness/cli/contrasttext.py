"""Contrasts on a terminal: who may stand where, then each comparison with its difference, interval and power."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.board import text
from harness.board.contrasts import Contrast, Contrasts, Side
from harness.board.differences import FIRM_SEEDS
from harness.board.marks import Comparison
from harness.board.table import LEGEND_WIDTH, STYLES

ROOMY = 100
"""Columns from which on the two scores stand beside their difference."""

Row = tuple[str, float, float | None, float | None, Comparison]
"""Name, scale, score of the arm, score of the other, comparison."""


def print_contrasts(made: Contrasts, console: Console) -> None:
    """Print all of it, then what the numbers mean."""
    width = min(console.width, LEGEND_WIDTH)
    suite = made.suite if made.suite_version is None else f"{made.suite} {made.suite_version}"
    console.print(Text(f"suite {suite}, {text.COMPOSITE}: {made.composite}", style="bold"))
    console.print(Padding(_ranking(made), (0, 0, 1, 0)))
    sides = {side.row: side for side in made.sides}
    for one in made.contrasts:
        arm, base = sides[one.arm], sides[one.base]
        console.print(Text(f"{arm.label} against {base.label}", style="bold"))
        console.print(Text(claim(one, arm, base)), width=width)
        console.print(_table(list(rows(made, one, arm, base)), roomy=console.width >= ROOMY))
        for sentence in _about(made, one, arm, base):
            console.print(Text(sentence, style="dim"), width=width)
        console.print()
    for sentence in _legend(made):
        console.print(Text(sentence, style="dim"), width=width)


def claim(one: Contrast, arm: Side, base: Side) -> str:
    """What the composite's comparison speaks of."""
    found = one.composite.difference
    if found is None:
        return f"No claim: {one.composite.blocked}."
    if found.claim == "method":
        provisional = f", provisional below {FIRM_SEEDS}" if one.composite.provisional else ""
        return f"A claim about the methods, over {found.n} paired seeds{provisional}."
    if arm.one_model and base.one_model:
        return f"A claim about these two models, over {found.n:,} items asked {len(one.seeds)} times."
    return f"A claim about the two checkpoints of seed {one.seeds[0]}, over {found.n:,} items; not about the methods."


def rows(made: Contrasts, one: Contrast, arm: Side, base: Side) -> Iterator[Row]:
    """The lines of a contrast: the composite, then the benchmarks."""
    yield text.COMPOSITE, text.WHOLE, arm.composite, base.composite, one.composite
    for name, column in made.benchmarks.items():
        yield name, column.out_of, arm.cells[name], base.cells[name], one.cells[name]


def _ranking(made: Contrasts) -> Table:
    table = _grid()
    for name in ("rank", "ranks", "group", "arm", "seeds", text.COMPOSITE, ""):
        table.add_column(name, no_wrap=name != "arm", overflow="fold")
    for side in made.sides:
        table.add_row(
            str(side.rank or "-"),
            f"{side.rank_low}-{side.rank_high}" if side.rank else "",
            str(side.group or ""),
            Text(side.label, style="bold"),
            str(len(side.seeds)),
            _number(side.composite, text.WHOLE),
            Text(text.interval(side.interval), style="dim"),
        )
    return table


def _table(lines: list[Row], *, roomy: bool) -> Table:
    table = _grid()
    table.add_column("", overflow="fold")
    for name in (*(("arm", "other") if roomy else ()), "diff"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("", "95 % interval", "over", "p", "detects"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"p", "detects"} else "left")
    for name, scale, score, other, compared in lines:
        style = STYLES[compared.mark]
        table.add_row(
            name if scale == text.WHOLE else f"{name}, {text.out_of(scale)}",
            *((_number(score, scale), _number(other, scale)) if roomy else ()),
            Text(text.difference(compared, scale), style=style),
            Text(text.mark(compared), style=style),
            Text(text.difference_interval(compared, scale), style="dim"),
            _over(compared),
            _p(compared.adjusted_p),
            _detects(compared.detectable, scale),
        )
    return table


def _grid() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")


def _over(compared: Comparison) -> str:
    """`3 seeds`, `1,319 items`."""
    found = compared.difference
    return "" if found is None else f"{found.n:,} {'seeds' if found.claim == 'method' else 'items'}"


def _p(p: float | None) -> str:
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004


def _detects(share: float | None, scale: float) -> str:
    """A difference of more than all there is to gain is none."""
    return f">{scale:g}" if share is not None and share > 1 else _number(share, scale)


def _number(value: float | None, scale: float) -> str:
    return "" if value is None else text.number(value, scale)


def _about(made: Contrasts, one: Contrast, arm: Side, base: Side) -> Iterator[str]:
    """What else is to be said of one contrast."""
    if one.spread_over_seeds is not None:
        seeds = ", ".join(text.number(value, text.WHOLE, "+") for value in one.by_seed.values())
        alone = (
            "" if one.spread_over_items is None else f", {_number(one.spread_over_items, text.WHOLE)} by items alone"
        )
        spread = _number(one.spread_over_seeds, text.WHOLE)
        yield f"{text.COMPOSITE} by seed: {seeds}; their standard deviation is {spread}{alone}."
    lines = list(rows(made, one, arm, base))
    far = [
        f"{name} ({text.number(compared.attainable_margin, scale)})"
        for name, scale, _, _, compared in lines
        if compared.attainable_margin is not None and compared.attainable_margin > made.margin
    ]
    if far:
        yield f"Too small a sample for = within {text.points(made.margin)} (what it could show): {', '.join(far)}."
    for why in sorted({compared.blocked for *_, compared in lines if compared.blocked}):
        yield f"! no claim: {why}."


def _legend(made: Contrasts) -> Iterator[str]:
    comparisons = [found for one in made.contrasts for found in (one.composite, *one.cells.values())]
    claims = {found.difference.claim for found in comparisons if found.difference is not None}
    yield "diff: in points with their 95 % interval, which is not adjusted for the number of comparisons."
    if "method" in claims:
        yield "Over seeds: how training again would turn out, on these items."
    if "checkpoint" in claims:
        yield "Over items: how these trained models would do on other items of the kind."
    yield (
        f"+ better, - worse, = equal within {text.points(made.margin)}, ? not known; p adjusted: {_family(made)}, "
        f"at {100 * made.level:g} %."
    )
    yield "detects: the smallest true difference found in 80 % of cases, before adjusting."
    if len(made.sides) > 2:  # noqa: PLR2004
        yield "ranks: where an arm may stand among these, all at once with 95 % confidence; no two of a group differ."
    if any(found.provisional for found in comparisons):
        yield f"* provisional: fewer than {FIRM_SEEDS} seeds."


def _family(made: Contrasts) -> str:
    n = len(made.contrasts)
    cells = n * len(made.benchmarks)
    composites = f"{n} composite{'s' if n > 1 else ''}"
    return f"Holm over {composites}, Benjamini-Hochberg over {cells} benchmark{'s' if cells > 1 else ''}"
