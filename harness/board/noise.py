"""The noise floor: one method against itself, where every mark would be a wrong one.

A draw is one evaluation of the method: a seed of one run, or of another run of the same recipe. Draws are compared with
each other by the tests that compare arms: any two of them as checkpoints, several a side as methods, and with the two
answers to each item dealt to the sides at random, which leaves nothing but the sampling of items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray

from harness.board.compare import ItemsOf, oriented
from harness.board.differences import MARK_SEEDS, Difference, method_difference, paired_composite
from harness.board.items import ItemScores, shared
from harness.board.marks import LEVEL
from harness.board.numbers import Part
from harness.board.rows import Row
from harness.errors import UserError

DEALS = 2_000
"""Comparisons of answers that are dealt anew, for each benchmark."""
SPLITS = 2_000
"""At most so many ways to split the draws in two."""


class Draw(NamedTuple):
    """One evaluation of the method on all benchmarks."""

    row: Row
    seed: int


Pair = tuple[ItemScores, ItemScores]


class Floor(Part):
    """How two sides that are one method differ."""

    comparisons: int
    spread: float
    """Root mean square of the differences; the true one is 0."""
    largest: float
    """95 % of the differences are no larger."""
    marked: float | None
    """Share of them with p below 5 %; None where too few seeds are on a side for any mark."""


class Floors(Part):
    """The noise of one benchmark, or of the composite."""

    over_items: Floor | None
    """Answers of two draws, dealt anew item by item; None for a total."""
    checkpoints: Floor | None
    """Two draws as they are, as if each were the only one; None for a total."""
    methods: Floor | None
    """Several draws a side, paired, no draw on both; None with fewer than four draws."""


class Noise(Part):
    """The noise floor of one method."""

    arm: str
    draws: int
    seeds_a_side: int
    """In the comparisons of methods."""
    level: float = LEVEL
    composite: Floors | None
    """None where a benchmark has no number."""
    cells: dict[str, Floors] = pydantic.Field(min_length=1)


def noise(rows: Sequence[Row], items: ItemsOf) -> Noise:
    """The noise floor of the rows, which are one method.

    Raises UserError where they are not, and where there are not two draws.
    """
    rows = list({row.id: row for row in rows}.values())
    first = rows[0].result
    for row in rows[1:]:
        if (row.result.arm, *row.group) != (first.arm, *rows[0].group):
            raise UserError(
                f"{first.arm} and {row.result.arm} are not one method under one recipe",
                "name one arm, or the same arm in several runs of a recipe",
            )
    draws = [Draw(row, seed) for row in rows for seed in sorted(row.result.composite.seeds)]
    if len(draws) < 2:  # noqa: PLR2004
        raise UserError(f"there is one draw of {first.arm}", "run it with --seeds 6, or name it in two runs: RUN:ARM")
    names = [
        name for name, task in first.tasks.items() if all(row.result.tasks[name].score is not None for row in rows)
    ]
    shares = first.suite.shares()
    whole = all(row.result.composite.score is not None for row in rows)
    return Noise(
        arm=first.arm,
        draws=len(draws),
        seeds_a_side=len(draws) // 2,
        composite=_floors(draws, list(first.tasks), [shares[name] for name in first.tasks], items) if whole else None,
        cells={name: _floors(draws, [name], [1.0], items) for name in names},
    )


def _floors(draws: Sequence[Draw], names: Sequence[str], shares: Sequence[float], items: ItemsOf) -> Floors:
    tasks = {name: draws[0].row.result.tasks[name] for name in names}
    scores = [
        sum(share * tasks[name].oriented(_score(draw, name)) for name, share in zip(names, shares, strict=True))
        for draw in draws
    ]
    methods = _floor(_splits(scores), marks=len(draws) // 2 >= MARK_SEEDS) if len(draws) >= 2 * 2 else None
    if any(task.total for task in tasks.values()):
        return Floors(over_items=None, checkpoints=None, methods=methods)
    answers = [[oriented(items(row, name, seed), tasks[name]) for name in names] for row, seed in draws]
    pairs = [[shared(a, b) for a, b in zip(*two, strict=True)] for two in combinations(answers, 2)]
    return Floors(
        over_items=_floor(paired_composite(one, shares, interval=False) for one in _dealt(pairs)),
        checkpoints=_floor(paired_composite(one, shares, interval=False) for one in pairs),
        methods=methods,
    )


def _score(draw: Draw, name: str) -> float:
    score = next(part.score for part in draw.row.result.tasks[name].seeds if part.seed == draw.seed)
    assert score is not None
    return score


def _dealt(pairs: Sequence[Sequence[Pair]]) -> Iterator[list[Pair]]:
    """The pairs in turn, with the two answers to each item on either side at random."""
    generator = np.random.default_rng(0)
    for n in range(DEALS):
        yield [_mixed(a, b, generator.random(len(a.items)) < 1 / 2) for a, b in pairs[n % len(pairs)]]


def _mixed(a: ItemScores, b: ItemScores, kept: NDArray[np.bool_]) -> Pair:
    """The two with the answers exchanged to the items that are not kept."""
    columns = [(np.where(kept, x, y), np.where(kept, y, x)) for x, y in ((a.values, b.values), (a.weights, b.weights))]
    (values, others), (weights, other_weights) = columns
    return ItemScores(a.items, values, weights), ItemScores(a.items, others, other_weights)


def _splits(scores: Sequence[float]) -> Iterator[Difference]:
    """Half of the draws against as many others, paired at random, each way once."""
    generator, half = np.random.default_rng(0), len(scores) // 2
    seen = set()
    for _ in range(SPLITS):
        a, b = (side.tolist() for side in generator.permutation(len(scores))[: 2 * half].reshape(2, half))
        found = frozenset([frozenset(zip(a, b, strict=True)), frozenset(zip(b, a, strict=True))])
        if found not in seen:
            seen.add(found)
            mine, theirs = (dict(enumerate(scores[draw] for draw in side)) for side in (a, b))
            yield method_difference(mine, theirs) or Difference(
                value=mine[0] - theirs[0], interval=None, p=None, n=half, claim="method"
            )


def _floor(differences: Iterable[Difference], *, marks: bool = True) -> Floor:
    found = list(differences)
    sizes = np.abs([one.value for one in found])
    return Floor(
        comparisons=len(found),
        spread=float(np.sqrt((sizes**2).mean())),
        largest=float(np.quantile(sizes, 1 - LEVEL)),
        marked=sum(one.p is not None and one.p < LEVEL for one in found) / len(found) if marks else None,
    )
