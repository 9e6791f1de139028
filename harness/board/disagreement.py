"""Two checkpoints that are right or wrong on the same items: what follows from where only one of them is right."""

from __future__ import annotations

import math
from typing import NamedTuple


class Disagreement(NamedTuple):
    """How often two checkpoints disagree on `n` items of equal weight."""

    only_a: int
    """Items that only the first got right."""
    only_b: int
    n: int


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test from the two kinds of disagreement."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def equivalence(of: Disagreement, margin: float) -> float:
    """The p-value of the hypothesis that the two chances of a right answer differ by `margin` or more.

    The larger of two one-sided ones (TOST) by Tango's score test (Statistics in Medicine 17, 1998, 891-908). Its
    variance is that under the hypothesis, so that few disagreements found do not pass for few there are. Checkpoints
    that differ by the margin may agree on every item with a chance of (1 - margin)^n, and no p is below that.
    """
    if not 0 < margin < 1:  # any two differ by 0 or more, and none by more than 1
        return float(margin <= 0)
    either = max(_beyond(of.only_a, of.only_b, of.n, margin), _beyond(of.only_b, of.only_a, of.n, margin))
    return max(either, (1 - margin) ** of.n)


def attainable_margin(of: Disagreement, level: float) -> float:
    """The smallest margin within which equivalence could have been shown, by as many disagreements evenly divided."""
    from scipy.optimize import brentq

    half = (of.only_a + of.only_b) / 2
    by_score: float = brentq(lambda margin: _beyond(half, half, of.n, margin) - level, 1e-12, 1 - 1e-12)
    return max(by_score, 1 - math.pow(level, 1 / of.n))


def _beyond(more: float, fewer: float, n: int, margin: float) -> float:
    """One-sided p of the hypothesis that the chance of the one disagreement is above that of the other by `margin`.

    The chance of the other is its maximum-likelihood estimate under the hypothesis, the root of a quadratic.
    """
    from harness.board.student import cdf

    half = (2 * n - more + fewer) * margin - more - fewer
    rarer = (math.sqrt(half**2 + 8 * n * fewer * margin * (1 - margin)) - half) / (4 * n)
    return cdf((more - fewer - n * margin) / math.sqrt(n * (2 * rarer + margin * (1 - margin))), None)
