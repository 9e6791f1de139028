"""Paired differences between two arms, and what kind of claim each supports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import pydantic

from harness.board.disagreement import mcnemar
from harness.board.intervals import Bounds, Interval, Scores, t_interval, within

if TYPE_CHECKING:
    from harness.board.items import Floats, ItemScores, Pool
    from harness.board.student import Estimate

FIRM_SEEDS = 5
"""From so many seeds on a claim about a method is no longer provisional."""
MARK_SEEDS = 3
"""With fewer, a claim about a method is not marked at all."""


class Difference(pydantic.BaseModel):
    """`a - b` on the items or seeds that both have."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    value: float
    interval: Interval | None
    """None where the difference is one of totals over the items of one seed: a total has no sampling of items. None
    too where nothing varies."""
    p: float | None
    """Two-sided, before any adjustment for the number of comparisons; None where there is no interval."""
    n: int
    """Pairs: items for a claim about checkpoints, seeds for a claim about methods."""
    claim: Literal["checkpoint", "method"]
    error: float | None = None
    """Standard error; None where there is no interval."""
    df: float | None = None
    """Degrees of freedom of Student's t; None for the normal distribution."""
    one_item: float | None = pydantic.Field(None, exclude_if=lambda moves: moves is None)
    """How far a single item, turned from wrong to right, moves the difference at most; only over items."""
    disagreements: tuple[int, int] | None = pydantic.Field(None, exclude_if=lambda counts: counts is None)
    """Items that only `a` got right, and those that only `b` did; None for anything but one benchmark of right or wrong
    whose items weigh the same."""

    @property
    def estimate(self) -> Estimate | None:
        """What its tests follow from."""
        from harness.board.student import Estimate

        return None if self.error is None else Estimate(self.value, self.error, self.df)


def paired_difference(a: Scores, b: Scores, level: float = 0.95) -> Difference:
    """Difference of two checkpoints' weighted means over the same items.

    Raises UserError when the two were not scored on the same items.
    """
    from harness.board.items import ItemScores

    return paired_composite([(ItemScores.of(a), ItemScores.of(b))], level=level)


def paired_composite(
    pairs: Sequence[tuple[ItemScores, ItemScores]],
    shares: Sequence[float] | None = None,
    level: float = 0.95,
    *,
    interval: bool = True,
) -> Difference:
    """Difference of two checkpoints' macro-averages, each benchmark's items taken for a sample of their own.

    `shares` are the benchmarks' shares of the composite, equal where left out. p is McNemar's, exact, for one benchmark
    of right and wrong; else Student's t with the linearised standard error, and with several benchmarks Welch and
    Satterthwaite's degrees of freedom. Without `interval` nothing is resampled and none is given.
    """
    from harness.board.items import mean_of, pool
    from harness.board.student import Estimate, two_sided

    pools = [pool(a, b) for a, b in pairs]
    shares = shares or [1 / len(pools)] * len(pools)
    value = round(sum(share * float(mean_of(one.columns)) for share, one in zip(shares, pools, strict=True)), 12)
    n = sum(len(one.columns) for one in pools)
    centre, error, df = map(float, padded_estimate(pools, shares))
    if not error:  # what does not vary does not say how it would on other items
        return Difference(value=value, interval=None, p=None, n=n, claim="checkpoint")
    padded = Estimate(centre, error, df if math.isfinite(df) else None)
    only_a, only_b = map(int, pools[0].disagreements)
    disagreements = (only_a, only_b) if one_binary(pools) else None
    return Difference(
        value=value,
        interval=_interval(pools, shares, padded, level).around(value) if interval else None,
        p=mcnemar(*disagreements) if disagreements else two_sided(padded),
        n=n,
        claim="checkpoint",
        error=padded.error,
        df=padded.df,
        one_item=max(share * float(one.one_item) for share, one in zip(shares, pools, strict=True)),
        disagreements=disagreements,
    )


def one_binary(pools: Sequence[Pool]) -> bool:
    """Whether they are one benchmark of right and wrong, whose items weigh the same."""
    return len(pools) == 1 and pools[0].binary and pools[0].equal_weights


def padded_estimate(pools: Sequence[Pool], shares: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    """The macro-average of the padded pools, nearer to 0 than their own, its standard error and degrees of freedom.

    Of each comparison in the pools. The error is 0 where nothing varies, and df infinite for the normal distribution.
    Items that weigh more than others tell less than so many would: degrees of freedom are those of their effective
    number.
    """
    import numpy as np

    from harness.board.items import effective, influences, mean_of

    value, variance, uncertain = np.zeros((3, *pools[0].columns.shape[:-2]))
    for share, one in zip(shares, pools, strict=True):
        padded = one.padded()
        n = effective(padded)
        # for right or wrong the plain variance, and normal, as Bonett and Price have it
        plain = one.binary and one.equal_weights
        dof = n - (not plain)
        mean_square = (influences(padded) ** 2).mean(axis=-1)
        part = share**2 * mean_square / padded.shape[-2] * n / dof
        value = value + share * mean_of(padded)
        variance = variance + part
        uncertain = uncertain + (not plain) * part**2 / dof
    df = np.divide(variance**2, uncertain, out=np.full_like(variance, np.inf), where=uncertain > 0)
    return value, np.sqrt(variance), df


def _interval(pools: Sequence[Pool], shares: Sequence[float], padded: Estimate, level: float) -> Interval:
    """Bonett and Price's for one benchmark of right and wrong; else the percentiles of paired resamples, widened.

    Resamples of n items vary by (n - 1) / n of what they should, and their percentiles take the variance for known. So
    those percentiles are taken that would be Student's t interval if the resamples were normal (the expanded percentile
    interval; Hesterberg, 2015, doi:10.1080/00031305.2015.1089789).
    """
    from harness.board.items import influences
    from harness.board.resampling import central, resampled
    from harness.board.student import cdf, quantile

    reach = quantile(0.5 + level / 2, padded.df) * padded.error
    if one_binary(pools):
        low, high = max(-1.0, padded.value - reach), min(1.0, padded.value + reach)
        return Interval(low=low, high=high, level=level, method="Bonett-Price over items")
    columns = [one.padded() for one in pools]
    plain = sum(
        share**2 * float((influences(of) ** 2).mean()) / len(of) for share, of in zip(shares, columns, strict=True)
    )
    low, high = central(resampled(columns, shares), cdf(-reach / plain**0.5, None))
    return Interval(low=low, high=high, level=level, method="paired bootstrap over items")


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
    from harness.board.student import Estimate, two_sided

    estimate = Estimate(fmean(differences), stdev(differences) / len(differences) ** 0.5, len(differences) - 1)
    return Difference(
        **estimate._asdict(),
        interval=within(t_interval(differences, level, "paired t over seeds"), bounds),
        p=two_sided(estimate),
        n=len(seeds),
        claim="method",
    )
