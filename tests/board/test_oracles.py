"""Our tests, intervals and adjustments against those of scipy and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from harness.board import disagreement
from harness.board.differences import method_difference, paired_composite
from harness.board.disagreement import Disagreement, mcnemar
from harness.board.intervals import wilson
from harness.board.items import ItemScores
from harness.board.marks import benjamini_hochberg, holm
from harness.board.student import Estimate, attainable_margin, detectable, equivalence, two_sided

PS = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def scores(values, weights=None):
    values = np.asarray(values, dtype=float)
    items = tuple(("", f"{n:05}") for n in range(len(values)))
    return ItemScores(items, values, np.ones_like(values) if weights is None else np.asarray(weights, dtype=float))


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar(only_a, only_b):
    theirs = their_mcnemar([[5, only_a], [only_b, 7]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, theirs), rel=1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 1000), st.floats(0.001, 0.2))
def test_equivalence_of_right_or_wrong_is_a_score_test(only_a, only_b, agreed, margin):
    """Against the likelihood of three kinds of items, maximised where the chances differ by the margin."""
    n = only_a + only_b + agreed

    def one_sided(more, fewer):
        def unlikely(chance):
            shares = np.array([chance + margin, chance, 1 - 2 * chance - margin])
            return -special.xlogy([more, fewer, agreed], shares).sum()

        rarer = optimize.minimize_scalar(
            unlikely, bounds=(0, (1 - margin) / 2), method="bounded", options={"xatol": 1e-9}
        ).x
        score = (more - fewer - n * margin) / (n * (2 * rarer + margin - margin**2)) ** 0.5
        return stats.norm.cdf(score)

    theirs = max(one_sided(only_a, only_b), one_sided(only_b, only_a), (1 - margin) ** n)
    found = Disagreement(only_a, only_b, n)
    assert disagreement.equivalence(found, margin) == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    even = Disagreement((only_a + only_b) // 2, (only_a + only_b) // 2, n)
    attained = disagreement.attainable_margin(even, 0.05)
    assert disagreement.equivalence(even, attained) == pytest.approx(0.05, abs=1e-6)


def test_equality_of_right_or_wrong_by_hand():
    """Without any disagreement the score is -sqrt(n margin / (1 - margin)), and the chance of that (1 - margin)^n."""
    found = Disagreement(0, 0, 300)
    assert disagreement.equivalence(found, 0.5) == pytest.approx(stats.norm.cdf(-(300**0.5)))
    assert disagreement.equivalence(found, 0.01) == pytest.approx(0.99**300)
    assert disagreement.equivalence(found, 0) == 1
    assert disagreement.equivalence(found, 1) == 0


@pytest.mark.parametrize("only_b", [0.0, 0.001, 0.005, 0.02])
@pytest.mark.parametrize("n", [240, 298, 299, 400, 700, 1319, 2000])
def test_equality_of_right_or_wrong_is_wrongly_claimed_in_five_cases_of_a_hundred_at_most(n, only_b):
    """Exact: all that may be found where the chances differ by a point, with how likely it is."""
    shares = [0.01 + only_b, only_b, 0.99 - 2 * only_b]
    most = [int(stats.binom.ppf(1 - 1e-7, n, share)) for share in shares[:2]]
    claimed = [
        (a, b, n - a - b)
        for a in range(most[0] + 1)
        for b in range(most[1] + 1)
        if disagreement.equivalence(Disagreement(a, b, n), 0.01) < 0.05
    ]
    wrong = stats.multinomial.pmf(claimed, n, shares).sum() if claimed else 0.0
    assert wrong <= 0.0501
    assert bool(claimed) == (n >= 299)


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson(right, more):
    n = right + more
    ours = wilson(right, n)
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-8)


@settings(max_examples=20)  # theirs takes a twentieth of a second
@given(PS)
def test_adjustments(ps):
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])
    assert benjamini_hochberg(ps) == pytest.approx(multipletests(ps, method="fdr_bh")[1])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_claims_about_methods_are_paired_t_tests(n):
    draw = np.random.default_rng(n)
    a, b = draw.normal(0.52, 0.01, n), draw.normal(0.5, 0.01, n)
    found = method_difference(dict(enumerate(a)), dict(enumerate(b)))
    theirs = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)
    interval = theirs.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-8)
    for margin in (0.005, 0.02, 0.05):
        theirs, _, _ = ttost_paired(a, b, -margin, margin)
        assert equivalence(found.estimate, margin) == pytest.approx(theirs, rel=1e-6)


def test_claims_about_checkpoints_are_paired_t_tests_where_items_are_many():
    """Two disagreements among 5,002 items change the standard error in the fourth digit."""
    draw = np.random.default_rng(1)
    a, b = draw.beta(2, 2, (2, 5000))
    found, theirs = paired_composite([(scores(a + 0.01), scores(b))]), stats.ttest_rel(a + 0.01, b)
    assert found.error == pytest.approx(theirs._standard_error, rel=3e-4)
    assert found.p == pytest.approx(theirs.pvalue, rel=5e-3)
    interval = theirs.confidence_interval()
    width = interval.high - interval.low
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=0.03 * width)
    theirs, _, _ = ttost_paired(a + 0.01, b, -0.02, 0.02)
    assert equivalence(found.estimate, 0.02) == pytest.approx(theirs, rel=5e-3)


def test_composites_have_the_degrees_of_freedom_of_welch_and_satterthwaite():
    """A macro-average of two graded benchmarks with opposite signs is the difference of two independent means."""
    draw = np.random.default_rng(2)
    x, y = draw.normal(0.1, 1, 2000), draw.normal(0.05, 0.2, 900)
    pairs = [(scores(x), scores(np.zeros(2000))), (scores(np.zeros(900)), scores(y))]
    found, theirs = paired_composite(pairs), stats.ttest_ind(x, y, equal_var=False)
    assert found.df == pytest.approx(theirs.df, rel=2e-3)
    assert found.p == pytest.approx(theirs.pvalue, rel=5e-3)
    assert found.error == pytest.approx(theirs._standard_error / 2, rel=2e-3)


def test_equality_leaves_room_for_rare_items_that_were_not_seen():
    """Of 1,000 items, 10 are the margin. A Poisson number of mean 10 has that variance, and is 0 with chance e^-10."""
    seen = Estimate(0.004, 1e-6, None)
    assert equivalence(seen, 0.01, 0.001) == pytest.approx(stats.norm.cdf(-6, scale=10**0.5))
    assert equivalence(seen, 0.01, 0.001) == pytest.approx(stats.poisson.cdf(4, 10), abs=1e-3)
    assert equivalence(Estimate(0.0, 1e-6, None), 0.01, 0.01) == pytest.approx(stats.poisson.pmf(0, 1))
    assert equivalence(seen, 0.01) < 1e-100


def test_items_that_weigh_more_than_others_say_less():
    """Of five items one alone has weight, and with two of the usual weight added they are as 1.81 items."""
    weights = np.array([1.0, 0, 0, 0, 0])
    a, b = (scores(np.full(5, answer), weights) for answer in (1.0, 0.0))
    found = paired_composite([(a, b)])
    kish = (1 + 0.4) ** 2 / (1 + 2 * 0.2**2)
    assert found.df == pytest.approx(kish - 1)
    assert found.p > 0.4
    assert found.one_item == 1
    assert paired_composite([(scores(range(40)), scores(np.zeros(40)))]).one_item == pytest.approx(1 / 40)


@pytest.mark.parametrize("n", [3, 5, 10, 33, 1319, 14_000])
def test_what_can_be_detected(n):
    theirs = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable(Estimate(0.0, 1 / n**0.5, n - 1), 0.05) == pytest.approx(theirs, rel=1e-4)
    if n > 10_000:
        assert detectable(Estimate(0.0, 1 / n**0.5, None), 0.05) == pytest.approx(theirs, rel=1e-3)


@given(st.floats(-1, 1), st.floats(0.001, 1), st.none() | st.floats(1, 1000), st.none() | st.floats(1e-5, 1))
def test_equality_is_attained_at_the_margin_that_is_named(value, error, df, one_item):
    margin = attainable_margin(Estimate(0.0, error, df), 0.05, one_item)
    assert equivalence(Estimate(0.0, error, df), margin, one_item) == pytest.approx(0.05)
    assert equivalence(Estimate(value, error, df), margin, one_item) >= 0.05 - 1e-9
    assert 0 <= two_sided(Estimate(value, error, df)) <= 1
