"""The methods say which tests were made, and no others."""

import random
from dataclasses import replace
from typing import get_args

import pytest

from harness.api import Total
from harness.board.differences import Difference
from harness.board.intervals import Interval
from harness.board.marks import Comparison
from harness.board.report.methods import (
    LINEARISED,
    MCNEMAR,
    PAIRED_T,
    SCORES,
    STUDENT,
    TANGO,
    UNTESTED,
    methods,
    test_of,
)

test_of.__test__ = False


def paragraph(found):
    return " ".join(methods(found.made, found.rows))


def test_five_seeds_are_tested_over_seeds_alone(seeds):
    said = paragraph(seeds)
    assert f"{PAIRED_T} (composite, code, chat)" in said
    assert "t over seeds (code, chat, composite)" in said
    assert f"within 1 point: {STUDENT} (composite, code, chat)." in said
    assert "speak of the methods" in said
    for other in (MCNEMAR, TANGO, LINEARISED, "Wilson", "speak of the trained models"):
        assert other not in said


def test_one_seed_of_right_and_wrong_is_tested_over_items(checkpoints):
    said = paragraph(checkpoints)
    assert f"{MCNEMAR} (arithmetic, code, chat)" in said
    assert f"{LINEARISED} (composite)" in said
    assert "Wilson's score interval over items (arithmetic, code, chat)" in said
    assert f"within 1 point: {STUDENT} (composite); {TANGO} (arithmetic, code, chat)." in said
    assert "Holm over 2 composites, Benjamini-Hochberg over 6 benchmarks" in said
    assert "speak of the trained models alone" in said
    assert PAIRED_T not in said


def test_graded_scores_are_tested_with_the_linearised_error(maker, compared):
    arms = []
    for name, low in (("sft", 0.2), ("dmt", 0.4)):
        draw = random.Random(name)
        arm = maker.arm(name, {"code": 0.5}, n=40)
        graded = maker.evaluation(f"graded {name}", "chat", 0, [low + 0.5 * draw.random() for _ in range(40)])
        arm.seeds[0].evaluations["chat"] = graded
        arms.append(arm)
    said = paragraph(compared(arms))
    assert f"{MCNEMAR} (code)" in said
    assert "(composite, chat)" in said
    assert f"within 1 point: {STUDENT} (composite, chat); {TANGO} (code)." in said
    assert "Student's t over items (chat)" in said


def test_what_bars_marks_is_told(maker, compared):
    arms = [maker.arm(name, {"chat": share}, n=40, seeds=(0, 1)) for name, share in (("sft", 0.2), ("dmt", 0.8))]
    said = paragraph(compared(arms))
    assert "Here marks were barred because 2 seeds are too few." in said
    assert "count as equal" not in said
    assert "minimum detectable" in said


def test_no_test_of_equality_is_told_where_only_totals_were_subtracted(maker, compared):
    """Neither do they have a difference that could have been detected."""
    arms = [maker.arm(name, {"chat": share}, n=40) for name, share in (("sft", 0.2), ("dmt", 0.8))]
    for arm in arms:
        arm.seeds[0].evaluations["chat"] = replace(arm.seeds[0].evaluations["chat"], total=Total(out_of=40))
    said = paragraph(compared(arms))
    assert f"two-sided: {UNTESTED} (composite, chat)." in said
    assert "count as equal" not in said
    assert "minimum detectable" not in said


def test_items_that_were_left_out_and_the_protocols_are_told(maker, compared):
    arms = [maker.arm(name, {"chat": 0.5}, n=40) for name in ("sft", "dmt")]
    said = paragraph(compared(arms, limit=40))
    assert "chat (protocol strict-1)" in said
    assert "Only the first 40 items of each benchmark were asked." in said


def test_a_margin_is_told_as_it_was_set(seeds):
    assert "within 1 point: " in paragraph(seeds)
    seeds.made = seeds.made.model_copy(update={"margin": 0.025})
    assert "within 2.5 points: " in paragraph(seeds)


def test_every_interval_of_a_score_has_a_sentence():
    every = set(get_args(Interval.model_fields["method"].annotation))
    assert {method for method in every if "paired" not in method and "Bonett" not in method} == set(SCORES)


@pytest.mark.parametrize(
    ("claim", "method", "p", "test"),
    [
        ("method", "paired t over seeds", 0.1, PAIRED_T),
        ("checkpoint", "Bonett-Price over items", 0.1, MCNEMAR),
        ("checkpoint", "paired bootstrap over items", 0.1, LINEARISED),
        ("checkpoint", None, None, UNTESTED),
    ],
)
def test_the_test_follows_from_the_claim_and_the_interval(claim, method, p, test):
    interval = method and Interval(low=0, high=1, method=method)
    difference = Difference(value=0.5, interval=interval, p=p, n=3, claim=claim)
    assert test_of(Comparison(difference=difference)) == test
    assert test_of(Comparison(difference=None)) == UNTESTED
