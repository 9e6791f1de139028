"""Contrasts in words: what the terminal and the report both say."""

from __future__ import annotations

from collections.abc import Iterator

from harness.board import text
from harness.board.contrasts import Contrast, Contrasts, Side
from harness.board.differences import FIRM_SEEDS
from harness.board.marks import Comparison

Row = tuple[str, float, float | None, float | None, Comparison]
"""Name, scale, score of the arm, score of the other, comparison."""


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


def over(compared: Comparison) -> str:
    """`3 seeds`, `1,319 items`."""
    found = compared.difference
    return "" if found is None else f"{found.n:,} {'seeds' if found.claim == 'method' else 'items'}"


def p_value(p: float | None) -> str:
    """`0.012`, `<.001`; empty where there was no test."""
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004


def detects(share: float | None, scale: float) -> str:
    """A difference of more than all there is to gain is none."""
    return f">{scale:g}" if share is not None and share > 1 else score(share, scale)


def score(value: float | None, scale: float) -> str:
    """`93.2` out of 100; empty where there is none."""
    return "" if value is None else text.number(value, scale)


def about(made: Contrasts, one: Contrast, arm: Side, base: Side) -> Iterator[str]:
    """What else is to be said of one contrast."""
    if one.spread_over_seeds is not None:
        seeds = ", ".join(text.number(value, text.WHOLE, "+") for value in one.by_seed.values())
        alone = "" if one.spread_over_items is None else f", {score(one.spread_over_items, text.WHOLE)} by items alone"
        spread = score(one.spread_over_seeds, text.WHOLE)
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


def legend(made: Contrasts) -> Iterator[str]:
    """What the numbers and signs mean; only what occurs is explained."""
    comparisons = [found for one in made.contrasts for found in (one.composite, *one.cells.values())]
    claims = {found.difference.claim for found in comparisons if found.difference is not None}
    yield "diff: in points with their 95 % interval, which is not adjusted for the number of comparisons."
    if "method" in claims:
        yield "Over seeds: how training again would turn out, on these items."
    if "checkpoint" in claims:
        yield "Over items: how these trained models would do on other items of the kind."
    yield (
        f"+ better, - worse, = equal within {text.points(made.margin)}, ? not known; p adjusted: {family(made)}, "
        f"at {100 * made.level:g} %."
    )
    yield "detects: the smallest true difference found in 80 % of cases, before adjusting."
    if len(made.sides) > 2:  # noqa: PLR2004
        yield (
            "ranks: where an arm may stand among these, all at once with 95 % confidence; no two of a group can be "
            "told apart."
        )
    if any(found.provisional for found in comparisons):
        yield f"* provisional: fewer than {FIRM_SEEDS} seeds. Ranks that rest on so few are, too."


def family(made: Contrasts) -> str:
    """How p was adjusted, and for how many comparisons; those that are blocked are not tested."""
    composites = sum(one.composite.adjusted_p is not None for one in made.contrasts)
    cells = sum(cell.adjusted_p is not None for one in made.contrasts for cell in one.cells.values())
    tested = f"Holm over {composites} composite{'' if composites == 1 else 's'}"
    return f"{tested}, Benjamini-Hochberg over {cells} benchmark{'' if cells == 1 else 's'}"
