"""Paired differences between two arms, what kind of claim each supports, and the adjustment for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

import pydantic

from harness.board.intervals import Bounds, Interval, Scored, Scores, is_binary, t_interval, within
from harness.errors import UserError

FIRM_SEEDS = 5
"""From so many seeds on a claim about a method is no longer provisional."""
MARK_SEEDS = 3
"""With fewer, a claim about a method is not marked at all."""


class Difference(pydantic.BaseModel):
    """`a - b` on the items or seeds that both have."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    value: float
    interval: Interval | None
    """None where the difference is one of totals over the items of one seed: a total has no sampling of items."""
    p: float | None
    """Two-sided, before any adjustment for the number of comparisons; None where there is no interval."""
    n: int
    """Pairs: items for a claim about checkpoints, seeds for a claim about methods."""
    claim: Literal["checkpoint", "method"]


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test from the two kinds of disagreement."""
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_difference(a: Scores, b: Scores, level: float = 0.95) -> Difference:
    """Difference of two checkpoints' weighted means over the same items: McNemar's exact p for 0/1, else bootstrap.

    Raises UserError when the two were not scored on the same items.
    """
    return paired_composite([(a, b)], level=level)


def paired_composite(
    pairs: Sequence[tuple[Scores, Scores]], shares: Sequence[float] | None = None, level: float = 0.95
) -> Difference:
    """Difference of two checkpoints' macro-averages: the items of each benchmark are resampled apart, then averaged.

    `shares` are the benchmarks' shares of the composite, equal where left out. With 0/1 scores one disagreement each
    way is added (Bonett and Price, 2012): two models that agree on every item asked would otherwise be certain to
    agree on every item there is.
    """
    from harness.board.resampling import macro_average, percentiles, resampled

    shares = shares or [1 / len(pairs)] * len(pairs)
    pools = [_pool(a, b) for a, b in pairs]
    binary = [is_binary([*a.values(), *b.values()]) for a, b in pairs]
    value = macro_average(pools, shares)
    padded = [_padded(pool) if zero_one else pool for pool, zero_one in zip(pools, binary, strict=True)]
    averages = resampled(padded, shares)
    low, high = percentiles(averages, level)
    if len(pairs) == 1 and binary[0] and {row[1:] for row in pools[0]} == {pools[0][0][1:2]}:  # all weigh the same
        p = mcnemar(sum(row[0] > 0 for row in pools[0]), sum(row[0] < 0 for row in pools[0]))
    else:
        fewer = min(int((averages <= 0).sum()), int((averages >= 0).sum()))
        p = min(1.0, 2 * (fewer + 1) / (len(averages) + 1))
    interval = Interval(low=min(low, value), high=max(high, value), level=level, method="paired bootstrap over items")
    return Difference(value=value, interval=interval, p=p, n=sum(map(len, pools)), claim="checkpoint")


def _pool(a: Scores, b: Scores) -> list[tuple[float, ...]]:
    """Item by item, in an order that depends on the items alone: the two sides, or where weights agree `a - b`."""
    if a.keys() != b.keys():
        raise UserError(
            f"scores cannot be paired: {len(a.keys() - b.keys())} items are only in the first, "
            f"{len(b.keys() - a.keys())} only in the second",
            "compare runs over the same version of the benchmark's data",
        )
    if not a:
        raise UserError("scores cannot be paired: there are no items", "evaluate at least one item")
    pairs = [(a[item], b[item]) for item in sorted(a)]
    if all(mine.weight == theirs.weight for mine, theirs in pairs):
        return [Scored(mine.value - theirs.value, mine.weight).columns() for mine, theirs in pairs]
    return [(*mine.columns(), *theirs.columns()) for mine, theirs in pairs]


def _padded(pool: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """The pool with one disagreement each way, of the usual weight."""
    usual = [fmean(column) for column in zip(*pool, strict=True)][1::2]
    if len(usual) == 1:
        return [*pool, Scored(1.0, usual[0]).columns(), Scored(-1.0, usual[0]).columns()]
    mine, theirs = usual
    return [*pool, (mine, mine, 0.0, theirs), (0.0, mine, theirs, theirs)]


def method_difference(
    a: Mapping[int, float],
    b: Mapping[int, float],
    level: float = 0.95,
    bounds: Bounds = None,
) -> Difference | None:
    """Difference of two methods' scores (seed to score), paired by seed; Student's t over the paired differences.

    The interval is cut to `bounds` where differences cannot leave them. None with fewer than two common seeds, or
    where every seed shows the same difference: no spread to estimate.
    """
    seeds = sorted(a.keys() & b.keys())
    differences = [round(a[seed] - b[seed], 12) for seed in seeds]
    if len(set(differences)) < 2:  # noqa: PLR2004
        return None
    from scipy.special import stdtr

    interval = t_interval(differences, level, "paired t over seeds")
    mean = fmean(differences)
    statistic = abs(mean) / (stdev(differences) / math.sqrt(len(differences)))
    p = float(2 * stdtr(len(differences) - 1, -statistic))
    return Difference(value=mean, interval=within(interval, bounds), p=p, n=len(seeds), claim="method")


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
