"""From comparisons to marks, adjusted for the number of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import pydantic

from harness.board.differences import Difference

LEVEL = 0.05
"""Family-wise error of the composites' marks, and false discovery rate of the benchmarks'."""
MARGIN = 0.01
"""A share of the whole scale, one point of 100: differences within it are as good as none."""

Adjust = Callable[[Sequence[float]], list[float]]


class Comparison(pydantic.BaseModel):
    """How a score compares with another arm's."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    difference: Difference | None
    """The arm's score minus the other's, in the benchmark's own direction; None where they cannot be paired."""
    provisional: bool = False
    """Several seeds, and fewer than five. One seed makes no claim about a method that could be provisional."""
    adjusted_p: float | None = None
    """For the number of comparisons that claim something; None like the other where none is claimed."""
    equivalence_p: float | None = None
    """Of the hypothesis that they differ by the board's margin or more (TOST), before any adjustment."""
    adjusted_equivalence_p: float | None = None
    detectable: float | None = None
    """The smallest true difference that such a test finds in 80 % of cases, before any adjustment."""
    attainable_margin: float | None = None
    """The smallest margin within which so many items or seeds can show two equal arms to be equal. Beyond the board's
    margin, `=` is out of reach."""
    mark: Literal["+", "-", "=", "?"] = "?"
    """Better, worse, equal within the margin, or not known to differ."""
    blocked: str = ""
    """Why no mark is given whatever the numbers say."""


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: the chance of one false claim among all stays below the level."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values: the expected share of false claims stays below the level."""
    adjusted, smallest = [0.0] * len(ps), 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(ps)), key=ps.__getitem__), start=1))):
        smallest = min(smallest, ps[index] * len(ps) / rank)
        adjusted[index] = smallest
    return adjusted


def within_margin(comparison: Comparison, margin: float) -> Comparison:
    """The comparison with what its difference says of equality, and of what could have been found."""
    from harness.board import disagreement, student

    found = comparison.difference
    if found is None or found.estimate is None:
        return comparison
    if found.disagreements:
        counts = disagreement.Disagreement(*found.disagreements, found.n)
        equal, attainable = disagreement.equivalence(counts, margin), disagreement.attainable_margin(counts, LEVEL)
    else:
        equal, attainable = (
            student.equivalence(found.estimate, margin, found.one_item),
            student.attainable_margin(found.estimate, LEVEL, found.one_item),
        )
    return comparison.model_copy(
        update={
            "equivalence_p": equal,
            "detectable": student.detectable(found.estimate, LEVEL),
            "attainable_margin": attainable,
        }
    )


def marked_comparisons(
    comparisons: Mapping[tuple[str, str], Comparison],
    adjust: Adjust,
    higher_is_better: Mapping[str, bool],
    margin: float,
) -> dict[tuple[str, str], Comparison]:
    """The comparisons, (row, benchmark) to comparison, with their marks.

    Tests of a difference are adjusted for their number, and tests of equivalence for theirs; what is blocked is no
    test, and makes nothing else significant. What is known to differ is marked so, also where it is known to differ by
    less than the margin.
    """
    marked = {key: within_margin(one, margin) for key, one in comparisons.items()}
    claims = {key: one for key, one in marked.items() if not one.blocked}
    differing = _adjusted({key: one.difference.p if one.difference else None for key, one in claims.items()}, adjust)
    equal = _adjusted({key: one.equivalence_p for key, one in claims.items()}, adjust)
    for key, one in marked.items():
        mark = _mark(one, differing.get(key), equal.get(key), higher_is_better=higher_is_better[key[1]])
        update = {"adjusted_p": differing.get(key), "adjusted_equivalence_p": equal.get(key), "mark": mark}
        marked[key] = one.model_copy(update=update)
    return marked


def _adjusted(ps: Mapping[tuple[str, str], float | None], adjust: Adjust) -> dict[tuple[str, str], float]:
    tested = {key: p for key, p in ps.items() if p is not None}
    return dict(zip(tested, adjust(list(tested.values())), strict=True))


def _mark(comparison: Comparison, differing: float | None, equal: float | None, *, higher_is_better: bool) -> str:
    if comparison.blocked or comparison.difference is None:
        return "?"
    if differing is not None and differing < LEVEL:
        return "+" if (comparison.difference.value > 0) == higher_is_better else "-"
    return "=" if equal is not None and equal < LEVEL else "?"
