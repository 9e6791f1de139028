"""What an evaluation's items scored, as arrays: the items of two arms are paired thousands of times.

A pool is what a comparison of two arms needs of one benchmark: a row for each pair, with its weighted score and its
weight. A mean is the ratio of two columns' sums, so that weights are drawn, and vary, together with their items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.board.intervals import Scored, Scores
from harness.errors import UserError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Item = tuple[str, str]
"""Id and content hash."""


@dataclass(frozen=True, eq=False)
class ItemScores:
    """Items in their order, with the score and the weight of each."""

    items: tuple[Item, ...]
    values: Floats
    weights: Floats

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """The scores in the order of their items."""
        items = tuple(sorted(scores))
        values, weights = np.array([scores[item] for item in items], dtype=np.float64).reshape(-1, 2).T
        return cls(items, values, weights)

    @cached_property
    def binary(self) -> bool:
        """Whether every score is right or wrong, and none graded."""
        return bool(((self.values == 0) | (self.values == 1)).all())

    def only(self, items: frozenset[Item]) -> Self:
        """Those of these items."""
        kept = [place for place, item in enumerate(self.items) if item in items]
        return replace(
            self,
            items=tuple(self.items[place] for place in kept),
            values=self.values[kept],
            weights=self.weights[kept],
        )

    def map(self, score: Callable[[Floats], Floats]) -> Self:
        """With other scores, of equal weights."""
        return replace(self, values=score(self.values))

    def scored(self) -> list[Scored]:
        """Item by item."""
        return [
            Scored(value, weight) for value, weight in zip(self.values.tolist(), self.weights.tolist(), strict=True)
        ]


def shared(a: ItemScores, b: ItemScores) -> tuple[ItemScores, ItemScores]:
    """Both with the items that both have."""
    if a.items is b.items or a.items == b.items:
        return a, b
    both = frozenset(a.items) & frozenset(b.items)
    return a.only(both), b.only(both)


def averaged(draws: Sequence[ItemScores]) -> ItemScores:
    """What one model's items score on average, where it was asked several times."""
    if len(draws) == 1:
        return draws[0]
    if all(draw.items == draws[0].items for draw in draws):
        values, weights = (np.mean([getattr(draw, name) for draw in draws], axis=0) for name in ("values", "weights"))
        return ItemScores(draws[0].items, values, weights)
    found: dict[Item, list[Scored]] = {}
    for draw in draws:
        for item, one in zip(draw.items, draw.scored(), strict=True):
            found.setdefault(item, []).append(one)
    means: Mapping[Item, Scored] = {item: Scored(*np.mean(of, axis=0).tolist()) for item, of in found.items()}
    return ItemScores.of(means)


@dataclass(frozen=True, eq=False)
class Pool:
    """The pairs of one benchmark, of one comparison or of several (`...`) on the same items."""

    columns: Floats
    """[..., items, 2] where both sides weigh the same: `weight x (a - b)` and weight. Else [..., items, 4]: `weight x
    score` and weight of one side, then of the other."""
    binary: bool
    """Every score of both sides is right or wrong."""

    @property
    def equal_weights(self) -> bool:
        """Every pair weighs the same."""
        weights = self.columns[..., 1]
        return self.columns.shape[-1] == 2 and bool((weights == weights.flat[0]).all())  # noqa: PLR2004

    @property
    def one_item(self) -> Floats:
        """How far one item that turns from wrong to right moves the mean, of the usual weight; shape [...]."""
        found: Floats = 1 / effective(self.columns)
        return found

    @property
    def disagreements(self) -> tuple[Counts, Counts]:
        """Items on which the one side is better, and those on which the other is; for right or wrong alone."""
        differences = self.columns[..., 0]
        return (differences > 0).sum(axis=-1), (differences < 0).sum(axis=-1)

    def padded(self) -> Floats:
        """The columns with one disagreement more each way, of the usual weight and size.

        Two models that agree on every item asked would otherwise be certain to agree on every item there is, and few
        disagreements would all too often point one way. For right or wrong this is Bonett and Price's adjustment (2012,
        doi:10.3102/1076998611411915), where each disagreement has size 1; graded scores take the root mean square of
        theirs, which leaves the variance as it is where all items differ.
        """
        weights = self.columns[..., 1::2]
        scores = np.divide(self.columns[..., 0::2], weights, out=np.zeros_like(weights), where=weights > 0)
        sides = _sides(scores)
        differences = scores @ sides
        differing = np.maximum((differences != 0).sum(axis=-1), 1)
        size = np.ones(differing.shape) if self.binary else np.sqrt((differences**2).sum(axis=-1) / differing)
        means = self.columns[..., 0::2].sum(axis=-2) / weights.sum(axis=-2)
        centre = means.mean(axis=-1) if len(sides) > 1 else np.zeros(size.shape)
        usual = weights.mean(axis=-2)[..., None, :]
        apart = size[..., None, None] * np.array([[1.0], [-1.0]]) * sides / len(sides)
        more = np.stack(np.broadcast_arrays(usual * (centre[..., None, None] + apart), usual), axis=-1)
        rows = self.columns, more.reshape(*more.shape[:-2], -1)
        padded: Floats = np.concatenate([one.swapaxes(-1, -2) for one in rows], axis=-1).swapaxes(-1, -2)
        return padded


def pool(a: ItemScores, b: ItemScores) -> Pool:
    """Item by item. Raises UserError where the two were not scored on the same items."""
    if a.items is not b.items and a.items != b.items:
        mine, theirs = frozenset(a.items), frozenset(b.items)
        raise UserError(
            f"scores cannot be paired: {len(mine - theirs)} items are only in the first, "
            f"{len(theirs - mine)} only in the second",
            "compare runs over the same version of the benchmark's data",
        )
    if not a.items:
        raise UserError("scores cannot be paired: there are no items", "evaluate at least one item")
    if np.array_equal(a.weights, b.weights):
        columns = beside(a.weights * (a.values - b.values), a.weights)
    else:
        columns = beside(a.weights * a.values, a.weights, b.weights * b.values, b.weights)
    return Pool(columns, a.binary and b.binary)


def beside(*columns: Floats) -> Floats:
    """[..., items, columns] of several [..., items]. A column's items follow one another in memory: they are summed."""
    found: Floats = np.stack(columns, axis=-2).swapaxes(-1, -2)
    return found


def mean_of(columns: Floats) -> Floats:
    """The pool's weighted mean, or difference of two; shape [...]."""
    sums = columns.sum(axis=-2)
    means = sums[..., 0::2] / sums[..., 1::2]
    found: Floats = means @ _sides(means)
    return found


def effective(columns: Floats) -> Floats:
    """How many items of equal weight would say as much (Kish, Survey Sampling, 1965, chapter 11); shape [...].

    Where the sides weigh differently, of the side that has fewer.
    """
    weights = columns[..., 1::2]
    found: Floats = (weights.sum(axis=-2) ** 2 / (weights**2).sum(axis=-2)).min(axis=-1)
    return found


def influences(columns: Floats) -> Floats:
    """How far each item moves `mean_of`; shape [..., items], with mean 0.

    The standard error of a ratio of means is that of their mean (linearisation; Cochran, Sampling Techniques, 1977,
    chapter 6). With equal weights they are the deviations from the mean.
    """
    scores, weights = columns[..., 0::2], columns[..., 1::2]
    means = scores.sum(axis=-2, keepdims=True) / weights.sum(axis=-2, keepdims=True)
    moved: Floats = ((scores - means * weights) / weights.mean(axis=-2, keepdims=True)) @ _sides(scores)
    return moved


def _sides(scores: Floats) -> Floats:
    """One score a pair is a difference already; of two the second is subtracted."""
    return np.array([1.0, -1.0])[: scores.shape[-1]]
