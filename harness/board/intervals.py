"""Intervals of one arm's numbers, and what each is taken over.

Scores of one checkpoint vary with the items asked; scores of a method vary with the training seed as well. The first
kind is resampled over items, the second uses Student's t over seeds: resampling three seeds covers only about three
quarters of what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Annotated, Literal, NamedTuple, Self

import pydantic

Rounded = Annotated[float, pydantic.AfterValidator(lambda value: round(value, 9))]
"""So that the last bit of another processor's square root changes no row's digest."""

Bounds = tuple[float, float] | None
"""What a number cannot leave; None where it can be anything."""


class Scored(NamedTuple):
    """What an item scored, and what it weighs in the benchmark's mean."""

    value: float
    weight: float = 1.0

    def columns(self) -> tuple[float, float]:
        """Its weighted score and its weight: what adds up to the two halves of a weighted mean."""
        return self.weight * self.value, self.weight


Scores = Mapping[tuple[str, str], Scored]
"""Item (id and content hash) to score."""


def pooled(draws: Sequence[Scores]) -> dict[tuple[str, str], Scored]:
    """What one model's items score on average, where it was asked several times."""
    if len(draws) == 1:
        return dict(draws[0])
    found: dict[tuple[str, str], list[Scored]] = {}
    for scores in draws:
        for item, one in scores.items():
            found.setdefault(item, []).append(one)
    return {item: Scored(fmean(one.value for one in of), fmean(one.weight for one in of)) for item, of in found.items()}


class Interval(pydantic.BaseModel):
    """A confidence interval, and what it was taken over."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    low: Rounded
    high: Rounded
    level: float = 0.95
    method: Literal[
        "wilson",
        "t over items",
        "linearised t over items",
        "bootstrap over items",
        "t over seeds",
        "paired bootstrap over items",
        "Bonett-Price over items",
        "paired t over seeds",
    ]

    def around(self, value: float) -> Self:
        """Wide enough to hold the value itself."""
        return self.model_copy(update={"low": min(self.low, value), "high": max(self.high, value)})


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share; not empty at 0 of n or n of n. `n` is 1 or more."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low=low, high=high, level=level, method="wilson")


def item_interval(scores: Sequence[Scored], level: float = 0.95, bounds: Bounds = None) -> Interval | None:
    """Interval of one checkpoint's weighted mean over items, cut to `bounds`.

    Wilson where every score is 0 or 1, with Kish's effective number of items where weights differ. Else t, with the
    linearised standard error of a ratio where weights differ (Cochran, Sampling Techniques, 1977, chapter 6). None
    where nothing has any weight, and where graded scores show no spread.
    """
    found = [one for one in scores if one.weight > 0]
    if found and is_binary(found):
        weights = [one.weight for one in found]
        n = sum(weights) ** 2 / sum(weight * weight for weight in weights)
        right = sum(one.weight for one in found if one.value)
        return wilson(n * (right / sum(weights)), n, level)
    if len({one.value for one in found}) < 2:  # noqa: PLR2004
        return None
    return within(_linearised(found, level), bounds)


def _linearised(scores: Sequence[Scored], level: float) -> Interval:
    """Student's t interval of a weighted mean from its items' linearised deviations; the usual one for equal weights.

    An item moves the mean by its own deviation times its share of all weight.
    """
    if len({one.weight for one in scores}) == 1:
        return t_interval([one.value for one in scores], level, "t over items")
    usual = fmean(one.weight for one in scores)
    mean = sum(one.weight * one.value for one in scores) / sum(one.weight for one in scores)
    moved = [mean + one.weight / usual * (one.value - mean) for one in scores]
    return t_interval(moved, level, "linearised t over items")


def seed_interval(values: Sequence[float], level: float = 0.95, bounds: Bounds = None) -> Interval | None:
    """Student's t interval of a method's mean over seeds, cut to `bounds` where scores cannot leave them.

    None for a single seed, and where all seeds agree exactly: neither says how much seeds vary.
    """
    if len(set(values)) < 2:  # noqa: PLR2004
        return None
    return within(t_interval(values, level, "t over seeds"), bounds)


def within(interval: Interval, bounds: Bounds) -> Interval:
    """The interval, cut to what the number cannot leave."""
    if bounds is None:
        return interval
    return interval.model_copy(update={"low": max(bounds[0], interval.low), "high": min(bounds[1], interval.high)})


def t_interval(
    values: Sequence[float],
    level: float,
    method: Literal["t over items", "linearised t over items", "t over seeds", "paired t over seeds"],
) -> Interval:
    """Student's t interval of the mean of two values or more."""
    from scipy.special import stdtrit

    mean = fmean(values)
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * stdev(values) / math.sqrt(len(values))
    return Interval(low=mean - half, high=mean + half, level=level, method=method)


def macro_interval(
    scores: Sequence[Sequence[Scored]], shares: Sequence[float] | None = None, level: float = 0.95
) -> Interval:
    """Interval of one checkpoint's macro-average: the items of each benchmark are resampled apart, then averaged.

    `shares` are the benchmarks' shares of it, equal where left out. A benchmark of 0/1 scores gets one item more of
    each kind, so that none right is not taken for never right.
    """
    from harness.board.resampling import macro_average, percentiles, resampled

    shares = shares or [1 / len(scores)] * len(scores)
    value = macro_average([[one.columns() for one in found] for found in scores], shares)
    low, high = percentiles(resampled([_padded(found) for found in scores], shares), level)
    return Interval(low=min(low, value), high=max(high, value), level=level, method="bootstrap over items")


def _padded(scores: Sequence[Scored]) -> list[tuple[float, float]]:
    usual = fmean(one.weight for one in scores)
    both = [Scored(0.0, usual), Scored(1.0, usual)] if is_binary(scores) else []
    return [one.columns() for one in (*scores, *both)]


def is_binary(scores: Iterable[Scored]) -> bool:
    """Whether every score is right or wrong, and none graded."""
    return all(one.value in (0, 1) for one in scores)
