"""Means over items drawn again and again, and what they say of macro-averages and of differences between two.

A pool holds a benchmark's items: of each the weighted score and the weight, or those of two checkpoints one after the
other. A mean is the ratio of two columns' sums, so that weights are drawn together with their items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_COUNTED = 10
"""To draw how often an item occurs takes about as long as to draw so many items."""

Pool = Sequence[tuple[float, ...]] | NDArray[np.float64]
"""[items, 2] of one mean, [items, 4] of the difference of two."""


def macro_average(pools: Sequence[Pool], shares: Sequence[float]) -> float:
    """The pools' means, or differences of means, each with its share of the whole."""
    means = [_means(np.asarray(pool, dtype=np.float64).sum(axis=0, keepdims=True)) for pool in pools]
    return float((np.asarray(shares) @ np.asarray(means)).round(12)[0])


def resampled(pools: Sequence[Pool], shares: Sequence[float]) -> NDArray[np.float64]:
    """Macro-averages with each pool resampled apart; shape [RESAMPLES], less the draws in which nothing had weight."""
    generator = np.random.default_rng(0)
    means = [_means(_resampled_sums(np.asarray(pool, dtype=np.float64), generator)) for pool in pools]
    averages = (np.asarray(shares) @ np.asarray(means)).round(12)  # equal sides differ by nothing, and not by 1e-17
    found: NDArray[np.float64] = averages[~np.isnan(averages)]
    return found


def percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The ends of the central share `level` of the values."""
    return central(values, 0.5 - level / 2)


def central(values: NDArray[np.float64], tail: float) -> tuple[float, float]:
    """The ends of what is left of the values without the share `tail` on either side."""
    low, high = (float(bound) for bound in np.quantile(values, (tail, 1 - tail)))
    return low, high


def _resampled_sums(pool: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Column sums over as many items as the pool holds, drawn from it with replacement; shape [RESAMPLES, columns]."""
    n = len(pool)
    items, counts = np.unique(pool, axis=0, return_counts=True)
    few = len(items) * _COUNTED < n
    rows = max(1, 2_000_000 // (len(items) if few else n))  # of one draw, so that memory stays near 16 MB
    columns = np.ascontiguousarray(pool.T)
    sums = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        if few:
            sums.append(generator.multinomial(n, counts / n, size=size) @ items)
        else:
            drawn = generator.integers(n, size=(size, n), dtype=np.int32)
            sums.append(np.stack([_sum(column, drawn) for column in columns], axis=1))
    return np.concatenate(sums)


def _sum(column: NDArray[np.float64], drawn: NDArray[np.int32]) -> NDArray[np.float64]:
    """The column's sum over the items in each row of `drawn`; most often all items weigh the same."""
    if (column == column[0]).all():
        return np.full(len(drawn), column[0] * drawn.shape[1])
    found: NDArray[np.float64] = column.take(drawn).sum(axis=1)
    return found


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of the draws in the rows of `sums`, or the differences of two; NaN where nothing has weight."""
    scores, weights = sums[:, 0::2], sums[:, 1::2]
    means = np.divide(scores, weights, out=np.full_like(scores, np.nan), where=weights > 0)
    found: NDArray[np.float64] = means[:, 0] if means.shape[1] == 1 else means[:, 0] - means[:, 1]
    return found
