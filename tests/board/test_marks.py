"""From p-values to marks: what belongs to a family, and what follows from it."""

import pytest
from scipy import stats

from harness.board.differences import Difference
from harness.board.marks import Comparison, benjamini_hochberg, holm, marked_comparisons

MARGIN = 0.01


def differing(p, blocked=""):
    """A comparison with this p, and nothing to be said of equality."""
    difference = Difference(value=0.1, interval=None, p=p, n=100, claim="checkpoint")
    return Comparison(difference=difference, blocked=blocked)


def alike(p, blocked=""):
    """A comparison that finds no difference, and rejects one of a point with this p."""
    error = -MARGIN / stats.norm.ppf(p)
    difference = Difference(value=0.0, interval=None, p=1.0, n=100, claim="checkpoint", error=float(error))
    return Comparison(difference=difference, blocked=blocked)


def marks(adjust, **comparisons):
    """The comparisons, marked, each of a benchmark of its own."""
    marked = marked_comparisons(
        {("row", name): one for name, one in comparisons.items()}, adjust, dict.fromkeys(comparisons, True), MARGIN
    )
    return {name: marked["row", name] for name in comparisons}


@pytest.mark.parametrize(
    ("made", "sign", "adjusted"), [(differing, "+", "adjusted_p"), (alike, "=", "adjusted_equivalence_p")]
)
def test_what_is_blocked_makes_nothing_else_significant(made, sign, adjusted):
    """By hand: .03 is the first of two, 2 x .03 = .06; as the second of three it would be 3 / 2 x .03 = .045."""
    among = marks(benjamini_hochberg, a=made(0.0001), b=made(0.03), c=made(0.4))
    assert [one.mark for one in among.values()] == [sign, sign, "?"]
    assert getattr(among["b"], adjusted) == pytest.approx(0.045)
    found = marks(benjamini_hochberg, a=made(0.0001, "too few"), b=made(0.03), c=made(0.4))
    assert [one.mark for one in found.values()] == ["?", "?", "?"]
    assert getattr(found["b"], adjusted) == pytest.approx(0.06)
    assert getattr(found["a"], adjusted) is None


def test_what_is_blocked_costs_nothing_either():
    """Holm multiplies by the number of claims, and a blocked comparison is none."""
    assert marks(holm, a=differing(0.03), b=differing(0.9))["a"].mark == "?"
    assert marks(holm, a=differing(0.03), b=differing(0.9, "too few"))["a"].mark == "+"
