"""Ranges of ranks and groups of rows that cannot be told apart."""

from dataclasses import replace

import pytest

from harness.board.publish import write_run
from harness.board.ranks import Standing, standings_of

SCORES = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.3}


def test_without_any_difference_told_apart_every_rank_is_possible():
    found = standings_of(SCORES, set())
    assert [found[name].rank for name in "abcd"] == [1, 2, 2, 4]
    assert {(one.low, one.high, one.group) for one in found.values()} == {(1, 4, 1)}


def test_ranges_count_the_better_and_the_worse():
    """By hand: a beats d; b beats d; c is told apart from nobody."""
    assert standings_of(SCORES, {("a", "d"), ("b", "d")}) == {
        "a": Standing(1, 1, 3, 1),
        "b": Standing(2, 1, 3, 1),
        "c": Standing(2, 1, 4, 1),
        "d": Standing(4, 3, 4, 2),
    }


def test_groups_are_never_told_apart_within():
    """a and b are alike, and b and c; a is told apart from c, so that c begins a group of its own."""
    found = standings_of(SCORES, {("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")})
    assert [found[name].group for name in "abcd"] == [1, 1, 2, 3]
    assert [(found[name].low, found[name].high) for name in "abcd"] == [(1, 2), (1, 3), (2, 3), (4, 4)]


def answering(maker, arm, scores):
    """An arm with these scores."""
    made = maker.arm(arm, {"chat": 0.5})
    evaluation = maker.evaluation(f"{arm} again", "chat", 0, scores)
    return replace(made, seeds=(replace(made.seeds[0], evaluations={"chat": evaluation}),))


def test_a_board_ranks_all_rows_and_not_only_against_their_baseline(maker, info, tmp_path):
    right = {"dmt": 190, "im": 188, "sft": 120, "base": 20}
    arms = [answering(maker, arm, [1] * n + [0] * (200 - n)) for arm, n in right.items()]
    lines = write_run(tmp_path, arms, info).lines
    places = {line.arm: (line.rank_low, line.rank_high, line.group) for line in lines}
    assert places == {"dmt": (1, 2, 1), "im": (1, 2, 1), "sft": (3, 3, 2), "base": (4, 4, 3)}


@pytest.mark.parametrize(("items", "others", "told_apart"), [(6, 0, True), (5, 0, False), (6, 2, False)])
def test_pairs_are_adjusted_for_their_number(maker, info, tmp_path, *, items, others, told_apart):
    """Six of a hundred items (p = 2 / 64) tell two arms apart, five (2 / 32) do not; nor do six of one of six pairs."""
    right = 80 + items
    arms = [
        answering(maker, "better", [1] * right + [0] * (100 - right)),
        answering(maker, "worse", [1] * 80 + [0] * 20),
    ]
    arms += [answering(maker, f"between-{number}", [1] * 83 + [0] * 17) for number in range(others)]
    lines = {line.arm: line for line in write_run(tmp_path, arms, info).lines}
    assert (lines["better"].rank_high < lines["worse"].rank_low) == told_apart
    assert (lines["better"].group < lines["worse"].group) == told_apart


def test_pairs_that_are_blocked_are_none_of_the_family(maker, info, tmp_path):
    """A third arm lacks an item: no pair of its is compared, and the other pair (p = 2 / 64) is the only one."""
    arms = [answering(maker, "better", [1] * 86 + [0] * 14), answering(maker, "worse", [1] * 80 + [0] * 20)]
    arms.append(answering(maker, "lacking", [1] * 82 + [0] * 17 + [None]))
    lines = {line.arm: (line.rank_low, line.rank_high) for line in write_run(tmp_path, arms, info).lines}
    assert lines == {"better": (1, 2), "lacking": (1, 3), "worse": (2, 3)}


@pytest.mark.parametrize(("seeds", "mark"), [(2, "?"), (3, "+"), (5, "+")])
def test_ranks_are_told_apart_where_marks_are(maker, info, tmp_path, seeds, mark):
    arms = [maker.arm(arm, {"chat": share}, seeds=range(seeds)) for arm, share in (("sft", 0.2), ("im", 0.9))]
    lines = write_run(tmp_path, arms, info).lines
    assert lines[0].composite.comparison.mark == mark
    assert lines[0].composite.comparison.provisional == (seeds < 5)
    ranges = [(line.rank_low, line.rank_high) for line in lines]
    assert ranges == ([(1, 1), (2, 2)] if mark == "+" else [(1, 2), (1, 2)])


def test_without_a_composite_there_is_no_standing(maker, info, tmp_path):
    arms = [maker.arm("sft", {"chat": 0.5}), answering(maker, "im", [None] * 20)]
    lines = {line.arm: line for line in write_run(tmp_path, arms, info).lines}
    assert (lines["im"].rank, lines["im"].rank_low, lines["im"].group) == (None, None, None)
    assert (lines["sft"].rank, lines["sft"].rank_low, lines["sft"].rank_high) == (1, 1, 1)
