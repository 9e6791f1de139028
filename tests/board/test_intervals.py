"""Intervals and tests against values worked out by hand, and against what they promise in simulation."""

import random
from statistics import fmean, pstdev

import pytest

from harness.board.differences import (
    Difference,
    method_difference,
    paired_composite,
    paired_difference,
)
from harness.board.disagreement import mcnemar
from harness.board.intervals import Scored, item_interval, macro_interval, seed_interval, wilson
from harness.board.items import ItemScores
from harness.board.marks import benjamini_hochberg, holm
from harness.errors import UserError

Z = 1.959963984540054


def items(scores, start=0):
    return {(f"item-{number:05}", "hash"): Scored(score) for number, score in enumerate(scores, start=start)}


def columns(scores, start=0):
    return ItemScores.of(items(scores, start))


def scored(*values):
    return [Scored(value) for value in values]


def test_wilson_solves_its_equation():
    """Both ends are the shares p with |8/10 - p| = z sqrt(p (1 - p) / 10)."""
    interval = wilson(8, 10)
    for end in (interval.low, interval.high):
        assert abs(0.8 - end) == pytest.approx(Z * (end * (1 - end) / 10) ** 0.5, abs=1e-7)
    assert interval.low < 0.8 < interval.high


def test_wilson_says_something_at_the_ends():
    # by hand: with 0 of n the upper end is z^2 / (n + z^2)
    assert wilson(0, 8).low == 0
    assert wilson(0, 8).high == pytest.approx(Z**2 / (8 + Z**2), abs=1e-8)
    assert wilson(8, 8).high == 1
    assert wilson(8, 8).low == pytest.approx(8 / (8 + Z**2), abs=1e-8)


def test_items_that_are_not_right_or_wrong_get_a_t_interval():
    interval = item_interval(scored(0.25, 0.5, 0.75))
    assert interval.method == "t over items"
    half = 4.302652730 * 0.25 / 3**0.5  # t(0.975, 2) and the standard deviation
    assert interval.low == pytest.approx(0.5 - half, abs=1e-7)
    assert item_interval(scored(1, 0, 1)).method == "wilson"
    assert item_interval([]) is None
    assert item_interval(scored(0.3)) is None


def test_equal_weights_of_any_size_are_no_weights():
    values = [0.1, 0.4, 0.35, 0.8]
    plain, heavy = ([Scored(value, weight) for value in values] for weight in (1.0, 3.7))
    assert item_interval(plain) == item_interval(heavy)
    assert item_interval(scored(1, 0, 1, 1)) == item_interval([Scored(value, 0.2) for value in (1, 0, 1, 1)])
    assert macro_interval([heavy]).low == pytest.approx(macro_interval([plain]).low, abs=1e-9)
    pair = items(values), items(values[::-1])
    heavier = [{item: Scored(one.value, 2.5) for item, one in side.items()} for side in pair]
    assert paired_difference(*heavier).p == paired_difference(*pair).p
    assert paired_difference(*heavier).interval.low == pytest.approx(paired_difference(*pair).interval.low, abs=1e-9)


def test_graded_scores_without_spread_and_items_without_weight_say_nothing():
    assert item_interval(scored(0.5, 0.5, 0.5)) is None
    assert item_interval([Scored(0.5, 0.0), Scored(0.7, 1.0)]) is None


def weighted_sample(draw, n):
    """Long items score lower, so that the weighted mean is not the plain one; the mean of the population is 0.4."""
    weights = [draw.expovariate(1) + 0.1 for _ in range(n)]
    return [Scored(0.5 - 0.1 * weight / WEIGHTED_WEIGHT + draw.gauss(0, 0.1), weight) for weight in weights]


WEIGHTED_WEIGHT = (2 + 2 * 0.1 + 0.01) / 1.1
"""E w^2 / E w of `weighted_sample`'s weights: what the mean weight is, weighted."""


def test_a_weighted_mean_has_the_standard_error_that_its_resamples_have():
    from scipy.stats import bootstrap

    found = weighted_sample(random.Random(5), 150)
    values, weights = zip(*found, strict=True)
    again = bootstrap(
        (values, weights),
        lambda v, w, axis: (v * w).sum(axis) / w.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=0,
    )
    interval = item_interval(found)
    assert interval.method == "linearised t over items"
    width = interval.high - interval.low
    assert width / (2 * 1.976) == pytest.approx(again.standard_error, rel=0.06)  # t(0.975, 149)
    ours = macro_interval([found])
    assert (ours.low, ours.high) == pytest.approx(tuple(again.confidence_interval), abs=0.05 * width)


def test_weighted_intervals_cover_what_they_promise():
    """600 draws of 80 items, seeded: graded ones by the linearised error, others by the effective number of items."""
    draw = random.Random(6)
    graded = right = 0
    for _ in range(600):
        interval = item_interval(weighted_sample(draw, 80))
        graded += interval.low <= 0.4 <= interval.high
        weights = [draw.choice((1.0, 1.0, 4.0)) for _ in range(80)]
        interval = item_interval([Scored(float(draw.random() < 0.9), weight) for weight in weights])
        assert interval.method == "wilson"
        right += interval.low <= 0.9 <= interval.high
    assert 0.92 <= graded / 600 <= 0.98
    assert 0.92 <= right / 600 <= 0.98


def test_a_weighted_difference_has_the_percentiles_of_its_resamples():
    """A side loses a part of some items, and so their weight there: each mean is drawn with its own weights."""
    from scipy.stats import bootstrap

    draw, a, b = random.Random(7), {}, {}
    for number in range(120):
        base = draw.gauss(0.5, 0.2)
        a["", f"{number:03}"] = Scored(base + 0.05 + draw.gauss(0, 0.1), draw.choice((1.0, 2.0, 2.0)))
        b["", f"{number:03}"] = Scored(base + draw.gauss(0, 0.1), 2.0)
    columns = [column for side in (a, b) for column in zip(*side.values(), strict=True)]
    again = bootstrap(
        columns,
        lambda v, w, u, x, axis: (v * w).sum(axis) / w.sum(axis) - (u * x).sum(axis) / x.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=0,
    )
    found = paired_difference(a, b)
    (low, high), interval = again.confidence_interval, found.interval
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert found.value == pytest.approx(0.5 * (low + high), abs=0.1 * (high - low))


def test_shares_weigh_benchmarks():
    sure, unsure = scored(*[1.0] * 50, 0.5), scored(*[0.0, 1.0] * 20)
    even = macro_interval([sure, unsure])
    mostly_sure = macro_interval([sure, unsure], [0.9, 0.1])
    assert mostly_sure.high - mostly_sure.low < 0.3 * (even.high - even.low)
    a, b = columns([1] * 10 + [0] * 10), columns([0] * 20)
    assert paired_composite([(a, b), (b, b)], [0.75, 0.25]).value == pytest.approx(0.75 * 0.5)


def test_seeds_get_a_t_interval():
    interval = seed_interval([0.1, 0.2, 0.3])
    half = 4.302652730 * 0.1 / 3**0.5
    assert (interval.low, interval.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-7)
    assert seed_interval([0.1, 0.2, 0.3], bounds=(0.0, 1.0)).low == 0


def test_one_seed_and_equal_seeds_say_nothing_of_other_seeds():
    assert seed_interval([0.5]) is None
    assert seed_interval([0.5, 0.5, 0.5]) is None


def test_mcnemar_counts_the_binomial_tail():
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 1000) == pytest.approx(2**-999)


def test_paired_difference_of_right_and_wrong():
    a = items([1] * 70 + [0] * 20 + [1] * 10)
    b = items([1] * 70 + [0] * 20 + [0] * 10)
    difference = paired_difference(a, b)
    assert difference.value == pytest.approx(0.1)
    assert difference.p == pytest.approx(2 / 1024)
    assert difference.n == 100
    # by hand (Bonett and Price): p12 = 11/102, p21 = 1/102, standard error of their difference
    p12, p21 = 11 / 102, 1 / 102
    error = ((p12 + p21 - (p12 - p21) ** 2) / 102) ** 0.5
    assert difference.interval.low == pytest.approx(p12 - p21 - Z * error, abs=0.01)
    assert difference.interval.high == pytest.approx(p12 - p21 + Z * error, abs=0.01)


def test_paired_difference_is_the_same_in_any_order_and_every_time():
    scores = [random.Random(1).random() for _ in range(50)]
    a, b = items(scores), items(scores[::-1])
    backwards = dict(reversed(a.items()))
    assert paired_difference(a, b) == paired_difference(backwards, b)
    assert paired_difference(a, b).value == pytest.approx(-paired_difference(b, a).value, abs=1e-12)


def test_an_interval_holds_the_difference_itself():
    """By hand: ten of ten items more, padded, are 10 / 12 with an error of 0.160, and half of these lie up to 0.941."""
    better, worse = ({("item", str(number)): Scored(score) for number in range(10)} for score in (1.0, 0.0))
    for a, b, sign in ((better, worse, 1), (worse, better, -1)):
        found = paired_difference(a, b, level=0.5)
        assert found.value == sign
        assert sorted(sign * end for end in (found.interval.low, found.interval.high)) == pytest.approx(
            [0.726, 1], abs=1e-3
        )


def test_agreement_on_every_item_is_not_certainty():
    difference = paired_difference(items([1] * 200), items([1] * 200))
    assert difference.value == 0
    assert difference.p == 1
    assert -0.05 < difference.interval.low < 0 < difference.interval.high < 0.05


def test_other_items_cannot_be_paired():
    with pytest.raises(UserError, match="1 items are only in the first, 1 only in the second"):
        paired_difference(items([1, 0]), items([1, 0], start=1))
    with pytest.raises(UserError, match="no items"):
        paired_difference({}, {})


def test_the_content_of_an_item_belongs_to_its_identity():
    with pytest.raises(UserError, match="cannot be paired"):
        paired_difference({("1", "old"): Scored(1.0)}, {("1", "new"): Scored(1.0)})


def test_graded_scores_resample_near_the_normal_interval():
    draw = random.Random(2)
    differences = [draw.gauss(0.1, 1) for _ in range(400)]
    found = paired_difference(items(differences), items([0.0] * 400))
    half = Z * pstdev(differences) / 20
    assert found.interval.low == pytest.approx(fmean(differences) - half, abs=0.01)
    assert found.interval.high == pytest.approx(fmean(differences) + half, abs=0.01)


def test_a_composite_weighs_benchmarks_and_not_items():
    many = columns([1] * 900), columns([0] * 450 + [1] * 450)
    few = columns([0] * 50 + [1] * 50), columns([1] * 100)
    assert paired_composite([many, few]).value == pytest.approx((0.5 - 0.5) / 2)
    interval = macro_interval([scored(*[1.0] * 900), scored(*[0.0, 1.0] * 50)])
    half = Z * 0.5 / 10 / 2  # all of it from the hundred items
    assert interval.low == pytest.approx(0.75 - half, abs=0.01)
    assert interval.high == pytest.approx(0.75 + half, abs=0.01)


def test_the_paired_interval_covers_what_it_promises():
    """300 draws of 100 pairs with a true difference of 5 points; seeded, so the number is always the same."""
    draw = random.Random(3)
    hits = 0
    for _ in range(300):
        pairs = [draw.choices([(1, 0), (0, 1), (1, 1)], weights=[0.15, 0.10, 0.75])[0] for _ in range(100)]
        interval = paired_difference(items([a for a, _ in pairs]), items([b for _, b in pairs])).interval
        hits += interval.low <= 0.05 <= interval.high
    assert 0.92 <= hits / 300 <= 0.99


def test_t_over_three_seeds_covers_what_it_promises():
    draw = random.Random(4)
    hits = 0
    for _ in range(1000):
        a = {seed: draw.gauss(0.52, 0.03) for seed in range(3)}
        b = {seed: draw.gauss(0.50, 0.03) for seed in range(3)}
        interval = method_difference(a, b).interval
        hits += interval.low <= 0.02 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.97


def test_methods_are_paired_by_seed():
    difference = method_difference({0: 0.5, 1: 0.7, 2: 0.9}, {2: 0.6, 1: 0.5, 0: 0.4, 7: 0.0})
    assert difference.value == pytest.approx(0.2)
    half = 4.302652730 * 0.1 / 3**0.5
    assert difference.interval.low == pytest.approx(0.2 - half, abs=1e-7)
    # t = 2 sqrt(3); with two degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    assert difference.p == pytest.approx(1 - 12**0.5 / 14**0.5, abs=1e-9)
    assert (difference.n, difference.claim) == (3, "method")


def test_intervals_end_where_scores_do():
    assert item_interval(scored(0.0, 0.1, 0.9), bounds=(0, 1)).low == 0
    assert item_interval(scored(0.0, 0.1, 0.9)).low < 0


@pytest.mark.parametrize("a", [{0: 0.7}, {0: 0.3 + 0.4, 1: 0.6 + 0.1}, {}])
def test_without_spread_there_is_no_claim_over_seeds(a):
    assert method_difference(a, dict.fromkeys(range(3), 0.1)) is None


def test_holm_multiplies_by_those_that_remain():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_benjamini_and_hochberg_divide_by_rank():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.9]) == pytest.approx([0.04, 4 / 75, 4 / 75, 0.9])
    assert benjamini_hochberg([0.8]) == [0.8]


def test_a_difference_survives_json():
    difference = paired_difference(items([1, 0, 1]), items([0, 0, 1]))
    assert Difference.model_validate_json(difference.model_dump_json()) == difference


def test_a_difference_of_shares_stays_within_a_whole():
    wild = {0: 0.0, 1: 1.0, 2: 0.0}, {0: 1.0, 1: 0.9, 2: 0.8}
    free, cut = method_difference(*wild), method_difference(*wild, bounds=(-1.0, 1.0))
    assert free.interval.low < -1.0
    assert (cut.interval.low, cut.interval.high) == (-1.0, pytest.approx(min(1.0, free.interval.high)))
    assert (cut.value, cut.p) == (free.value, free.p)
