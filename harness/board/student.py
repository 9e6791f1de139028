"""What an estimate and its standard error say: Student's t, or the normal distribution where there are no `df`.

Everything that is claimed of a difference follows from the same three numbers, so that the claims agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import special

POWER = 0.8
"""Of the minimum detectable difference."""


class Estimate(NamedTuple):
    """A number and how uncertain it is."""

    value: float
    error: float
    """Standard error, above 0."""
    df: float | None
    """Degrees of freedom of the error; None where the normal distribution is taken."""


def cdf(t: float, df: float | None) -> float:
    """The chance of a value up to `t`."""
    return float(special.ndtr(t) if df is None else special.stdtr(df, t))


def quantile(share: float, df: float | None) -> float:
    """The value below which so large a share lies."""
    return float(special.ndtri(share) if df is None else special.stdtrit(df, share))


def two_sided(of: Estimate) -> float:
    """The p-value of the hypothesis that the true value is 0."""
    return 2 * cdf(-abs(of.value) / of.error, of.df)


def equivalence(of: Estimate, margin: float, one_item: float | None = None) -> float:
    """The p-value of the hypothesis that the true value lies at `margin` from 0 or beyond.

    The larger of two one-sided ones (TOST; Schuirmann, 1987, doi:10.1007/BF01068419): below 5 % where the 90 % interval
    lies within the margins. Over items, where `one_item` moves the value so far at most, the margin may be all of rare
    items that turned one way, and few of them be seen: they are a Poisson number of margin / one_item. So the error is
    taken for no smaller than theirs, and p for no smaller than the chance of seeing none.
    """
    if not one_item or margin <= 0:
        return cdf((abs(of.value) - margin) / of.error, of.df)
    error = max(of.error, math.sqrt(margin * one_item))
    return max(cdf((abs(of.value) - margin) / error, of.df), math.exp(-margin / one_item))


def attainable_margin(of: Estimate, level: float, one_item: float | None = None) -> float:
    """The smallest margin within which equivalence could have been shown, by an estimate of exactly 0."""
    reach = quantile(1 - level, of.df)
    return max(reach * of.error, (one_item or 0) * max(reach**2, -math.log(level)))


def detectable(of: Estimate, level: float) -> float:
    """The smallest true value that a two-sided test at `level` tells from 0 with a chance of 80 %.

    For t the exact one, from the noncentral distribution; rejections on the wrong side are left out.
    """
    critical = quantile(1 - level / 2, of.df)
    if of.df is None:
        return (critical + quantile(POWER, None)) * of.error
    return float(special.nctdtrinc(of.df, 1 - POWER, critical)) * of.error
