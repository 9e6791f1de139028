"""The composites of every two rows, tested at once: one by one, those of a thousand rows would take minutes.

Rows of one shape (seeds, items, weights, what is missing) are compared alike. So one comparison between two shapes
tells whether their rows may be compared, and over what; the numbers of all their pairs are then taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from scipy import special

from harness.board.compare import ItemsOf, common_seeds, compare_composites, oriented
from harness.board.differences import one_binary, padded_estimate
from harness.board.items import Pool, averaged, beside, mean_of
from harness.board.rows import Row

AT_ONCE = 1_000_000
"""Items of pairs whose arrays are held at once, some ten megabytes each."""


class Tested(NamedTuple):
    """Two rows whose composites may be told apart, with the numbers that `compare_composites` has for them."""

    a: str
    b: str
    value: float
    """`a - b`."""
    p: float


Compared = Callable[[Row, Sequence[Row]], Iterator[Tested]]


def pair_tests(rows: Sequence[Row], items: ItemsOf) -> Iterator[Tested]:
    """The test of every two rows that have composites, unless it is blocked, or nothing varies."""
    shapes: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        shapes.setdefault(_shape(row, items), []).append(row)
    for one, other in combinations_with_replacement(list(shapes.values()), 2):
        if one is not other or len(one) > 1:
            yield from _between(one, other, items)


def _shape(row: Row, items: ItemsOf) -> tuple[object, ...]:
    """All of a row that decides how it is compared; equal items are one tuple, which `items` keeps."""
    parts: list[object] = [row.result.one_model]
    for name, task in row.result.tasks.items():
        asked = [items(row, name, part.seed) for part in task.seeds]
        drawn = averaged(asked) if row.result.one_model else asked[0]
        parts += [drawn.binary, drawn.weights.tobytes()]
        parts += [
            (part.seed, part.n_expected, part.n_missing, id(found.items), found.binary)
            for part, found in zip(task.seeds, asked, strict=True)
        ]
    return tuple(parts)


def _between(rows: Sequence[Row], others: Sequence[Row], items: ItemsOf) -> Iterator[Tested]:
    """Each of the rows with each of the others, or with each that follows it where both are the same."""
    sample = compare_composites(rows[0], others[-1], items, interval=False)
    if sample.difference is None:
        return
    seeds = common_seeds(rows[0], others[-1])
    checkpoints = rows[0].result.one_model and others[-1].result.one_model
    if not checkpoints and len(seeds) > 1:
        compared = _one_by_one(items) if sample.blocked else _over_seeds(rows, others, seeds, items)
    elif sample.blocked:
        return
    else:
        compared = _over_items(rows, others, seeds, items) or _one_by_one(items)
    for place, row in enumerate(rows):
        yield from compared(row, others[place + 1 :] if rows is others else others)


def _one_by_one(items: ItemsOf) -> Compared:
    """By the comparison that boards show, where rows of one shape may still differ in what they are compared over."""

    def compared(row: Row, others: Sequence[Row]) -> Iterator[Tested]:
        for other in others:
            one = compare_composites(row, other, items, interval=False)
            if one.difference is not None and one.difference.p is not None and not one.blocked:
                yield Tested(row.id, other.id, one.difference.value, one.difference.p)

    return compared


def _over_seeds(rows: Sequence[Row], others: Sequence[Row], seeds: Sequence[int], items: ItemsOf) -> Compared:
    """Paired by seed; where all seeds show the same difference, by the items."""
    alone = _one_by_one(items)
    scores = {
        row.id: np.array([row.result.composite.seeds[seed] for seed in seeds], np.float64) for row in (*rows, *others)
    }
    values = np.stack([scores[row.id] for row in others])

    def compared(row: Row, rest: Sequence[Row]) -> Iterator[Tested]:
        differences = (scores[row.id] - values[len(others) - len(rest) :]).round(12)
        same = np.ptp(differences, axis=1) == 0
        means, spread = differences.mean(axis=1), np.where(same, 1, differences.std(axis=1, ddof=1))
        p = 2 * special.stdtr(len(seeds) - 1, -np.abs(means) * len(seeds) ** 0.5 / spread)
        for other, value, chance, alike in zip(rest, means.tolist(), p.tolist(), same.tolist(), strict=True):
            yield from alone(row, [other]) if alike else [Tested(row.id, other.id, value, chance)]

    return compared


def _over_items(rows: Sequence[Row], others: Sequence[Row], seeds: Sequence[int], items: ItemsOf) -> Compared | None:
    """Of the same items with the same weights; None where these differ."""
    tasks, shares = rows[0].result.tasks, rows[0].result.suite.shares()
    answers = {
        (row.id, name): oriented(averaged([items(row, name, seed) for seed in seeds]), task)
        for row in {row.id: row for row in (*rows, *others)}.values()
        for name, task in row.result.tasks.items()
    }
    pairs = [(answers[rows[0].id, name], answers[others[-1].id, name]) for name in tasks]
    if any(a.items is not b.items or not np.array_equal(a.weights, b.weights) for a, b in pairs):
        return None
    values = {name: np.stack([answers[row.id, name].values for row in others]) for name in tasks}
    step = max(1, AT_ONCE // sum(len(a.items) for a, _ in pairs))

    def compared(row: Row, rest: Sequence[Row]) -> Iterator[Tested]:
        for start in range(len(others) - len(rest), len(others), step):
            part = slice(start, start + step)
            pools = []
            for name, (a, b) in zip(tasks, pairs, strict=True):
                differences = a.weights * (answers[row.id, name].values - values[name][part])
                weights = np.broadcast_to(a.weights, differences.shape)
                pools.append(Pool(beside(differences, weights), a.binary and b.binary))
            yield from _tested(row, others[part], pools, [shares[name] for name in tasks])

    return compared


def _tested(row: Row, others: Sequence[Row], pools: Sequence[Pool], shares: Sequence[float]) -> Iterator[Tested]:
    value = np.sum([share * mean_of(one.columns) for share, one in zip(shares, pools, strict=True)], axis=0).round(12)
    centre, error, df = padded_estimate(pools, shares)
    if one_binary(pools):
        only_a, only_b = pools[0].disagreements
        p = np.minimum(1.0, 2 * special.bdtr(np.minimum(only_a, only_b), only_a + only_b, 0.5))
    else:
        p = 2 * special.stdtr(df, -np.abs(centre) / np.where(error > 0, error, 1))
    for other, difference, chance, varies in zip(others, value.tolist(), p.tolist(), error > 0, strict=True):
        if varies:
            yield Tested(row.id, other.id, difference, chance)
