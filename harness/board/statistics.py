"""Intervals and paired differences, and what kind of claim each supports.

Scores of one checkpoint vary with the items asked; scores of a method vary with the training seed as well. The first
kind is resampled over items, the second uses Student's t over seeds: resampling three seeds covers only about three
quarters of what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Annotated, Literal

import pydantic

from harness.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
FIRM_SEEDS = 5
"""From so many seeds on a claim about a method is no longer provisional."""
MARK_SEEDS = 3
"""With fewer, a claim about a method is not marked at all."""

Rounded = Annotated[float, pydantic.AfterValidator(lambda value: round(value, 9))]
"""So that the last bit of another processor's square root changes no row's digest."""

Scores = Mapping[tuple[str, str], float]
"""Item (id and content hash) to score."""


class Interval(pydantic.BaseModel):
    """A confidence interval, and what it was taken over."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    low: Rounded
    high: Rounded
    level: float = 0.95
    method: Literal[
        "wilson",
        "t over items",
        "bootstrap over items",
        "t over seeds",
        "paired bootstrap over items",
        "paired t over seeds",
    ]


class Difference(pydantic.BaseModel):
    """`a - b` on the items or seeds that both have."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    value: float
    interval: Interval
    p: float
    """Two-sided, before any adjustment for the number of comparisons."""
    n: int
    """Pairs: items for a claim about checkpoints, seeds for a claim about methods."""
    claim: Literal["checkpoint", "method"]


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share; not empty at 0 of n or n of n. `n` is 1 or more."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low=low, high=high, level=level, method="wilson")


def item_interval(
    scores: Sequence[float], level: float = 0.95, bounds: tuple[float, float] | None = None
) -> Interval | None:
    """Interval of one checkpoint's mean over items: Wilson where every score is 0 or 1, else t, cut to `bounds`.

    None where nothing was scored, or one item with a score between 0 and 1.
    """
    if scores and _is_binary(scores):
        return wilson(round(sum(scores)), len(scores), level)
    interval = _t_interval(scores, level, "t over items")
    return None if interval is None else _within(interval, bounds)


def seed_interval(
    values: Sequence[float], level: float = 0.95, bounds: tuple[float, float] | None = None
) -> Interval | None:
    """Student's t interval of a method's mean over seeds, cut to `bounds` where scores cannot leave them.

    None for a single seed, and where all seeds agree exactly: neither says how much seeds vary.
    """
    interval = None if len(set(values)) < 2 else _t_interval(values, level, "t over seeds")  # noqa: PLR2004
    return None if interval is None else _within(interval, bounds)


def _within(interval: Interval, bounds: tuple[float, float] | None) -> Interval:
    if bounds is None:
        return interval
    return interval.model_copy(update={"low": max(bounds[0], interval.low), "high": min(bounds[1], interval.high)})


def _t_interval(
    values: Sequence[float],
    level: float,
    method: Literal["t over items", "t over seeds", "paired t over seeds"],
) -> Interval | None:
    if len(values) < 2:  # noqa: PLR2004
        return None
    from scipy.special import stdtrit

    mean = fmean(values)
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * stdev(values) / math.sqrt(len(values))
    return Interval(low=mean - half, high=mean + half, level=level, method=method)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test from the two kinds of disagreement."""
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_difference(a: Scores, b: Scores, level: float = 0.95) -> Difference:
    """Difference of two checkpoints' means over the same items: McNemar's exact p for 0/1 scores, else bootstrap.

    Raises UserError when the two were not scored on the same items.
    """
    return paired_composite([(a, b)], level)


def paired_composite(pairs: Sequence[tuple[Scores, Scores]], level: float = 0.95) -> Difference:
    """Difference of two checkpoints' macro-averages: the items of each benchmark are resampled apart, then averaged.

    With 0/1 scores one disagreement each way is added (Bonett and Price, 2012): two models that agree on every item
    asked would otherwise be certain to agree on every item there is.
    """
    differences = [_differences(a, b) for a, b in pairs]
    binary = [_is_binary([*a.values(), *b.values()]) for a, b in pairs]
    pools = [[*values, 1.0, -1.0] if zero_one else values for values, zero_one in zip(differences, binary, strict=True)]
    value = fmean(fmean(values) for values in differences)
    low, high, means = _macro_interval(pools, level)
    if len(pairs) == 1 and binary[0]:
        p = mcnemar(differences[0].count(1), differences[0].count(-1))
    else:
        fewer = min(int((means <= 0).sum()), int((means >= 0).sum()))
        p = min(1.0, 2 * (fewer + 1) / (RESAMPLES + 1))
    interval = Interval(low=min(low, value), high=max(high, value), level=level, method="paired bootstrap over items")
    return Difference(value=value, interval=interval, p=p, n=sum(map(len, differences)), claim="checkpoint")


def _differences(a: Scores, b: Scores) -> list[float]:
    """`a - b` item by item, in an order that depends on the items alone."""
    if a.keys() != b.keys():
        raise UserError(
            f"scores cannot be paired: {len(a.keys() - b.keys())} items are only in the first, "
            f"{len(b.keys() - a.keys())} only in the second",
            "compare runs over the same version of the benchmark's data",
        )
    if not a:
        raise UserError("scores cannot be paired: there are no items", "evaluate at least one item")
    return [a[item] - b[item] for item in sorted(a)]


def _is_binary(scores: Sequence[float]) -> bool:
    return all(score in (0, 1) for score in scores)


def _resampled_means(pool: Sequence[float], generator: np.random.Generator) -> NDArray[np.float64]:
    """Means of as many items as the pool holds, drawn from it with replacement; shape [RESAMPLES]."""
    import numpy as np

    values, counts = np.unique(np.asarray(pool, dtype=np.float64), return_counts=True)
    rows = max(1, 2_000_000 // len(values))  # of one draw, so that memory stays near 16 MB
    means = [
        generator.multinomial(len(pool), counts / len(pool), size=min(rows, RESAMPLES - start)) @ values / len(pool)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(means)


def _macro_interval(pools: Sequence[Sequence[float]], level: float) -> tuple[float, float, NDArray[np.float64]]:
    """Percentile interval of the mean over the pools' means, each pool resampled apart; and the resampled values."""
    import numpy as np

    generator = np.random.default_rng(0)
    means = np.mean([_resampled_means(pool, generator) for pool in pools], axis=0)
    low, high = (float(bound) for bound in np.quantile(means, (0.5 - level / 2, 0.5 + level / 2)))
    return low, high, means


def macro_interval(scores: Sequence[Sequence[float]], level: float = 0.95) -> Interval:
    """Interval of one checkpoint's macro-average: the items of each benchmark are resampled apart, then averaged.

    A benchmark of 0/1 scores gets one item more of each kind, so that none right is not taken for never right.
    """
    pools = [[*values, 0.0, 1.0] if _is_binary(values) else values for values in scores]
    value = fmean(fmean(values) for values in scores)
    low, high, _ = _macro_interval(pools, level)
    return Interval(low=min(low, value), high=max(high, value), level=level, method="bootstrap over items")


def method_difference(
    a: Mapping[int, float],
    b: Mapping[int, float],
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
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

    interval = _t_interval(differences, level, "paired t over seeds")
    assert interval is not None
    mean = fmean(differences)
    statistic = abs(mean) / (stdev(differences) / math.sqrt(len(differences)))
    p = float(2 * stdtr(len(differences) - 1, -statistic))
    return Difference(value=mean, interval=_within(interval, bounds), p=p, n=len(seeds), claim="method")


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
