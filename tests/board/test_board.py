"""Ranks, comparisons and marks."""

import json
from dataclasses import replace

import pytest

from harness.board.build import arm_samples, build_row
from harness.board.check import check_run
from harness.board.compare import baseline_of
from harness.board.publish import read_board, samples_path, write_run
from harness.errors import Failure, UserError


def line_of(board, arm):
    return next(line for line in board.lines if line.arm == arm)


def with_scores(maker, arm, benchmark, scores, name):
    """The arm, answering one benchmark with other scores; `name` makes its job's folder."""
    evaluation = maker.evaluation(name, benchmark, 0, scores)
    seed = arm.seeds[0]
    return replace(arm, seeds=(replace(seed, evaluations={**seed.evaluations, benchmark: evaluation}),))


def test_an_arm_of_any_length_is_written_and_read(maker, info, tmp_path):
    """As `harness plan` calls an arm with many settings of its own."""
    common = ",".join(f"plugin_{number}.some_option=0.{number}" for number in range(20))
    arms = [maker.arm(f"dmt@{common},dmt.k={k}/é", {"chat": 0.5}, n=4, baseline=None) for k in (1, 2)]
    write_run(tmp_path, arms, info)
    paths = {samples_path(tmp_path, arm.id, "chat", 0) for arm in arms}
    assert len(paths) == 2
    assert all(path.is_file() and len(path.parts[-3]) <= 200 for path in paths)
    assert check_run(tmp_path) == []


def test_arms_stand_in_order_and_differ_from_their_baseline(arms, info, tmp_path):
    board = write_run(tmp_path, arms, info)
    assert [(line.rank, line.arm) for line in board.lines] == [(1, "dmt+im"), (2, "sft"), (3, "dmt")]
    chat = line_of(board, "dmt+im").cells["chat"]
    base = line_of(board, "sft").cells["chat"]
    assert chat.comparison.difference.value == pytest.approx(chat.score - base.score)
    assert chat.comparison.mark == "+"
    assert line_of(board, "dmt").cells["chat"].comparison.mark == "-"
    assert line_of(board, "dmt").composite.comparison.mark == "-"
    assert line_of(board, "sft").composite.comparison is None


def test_one_seed_speaks_of_checkpoints_and_several_of_methods(maker, info, tmp_path):
    for seeds, claim in (((0,), "checkpoint"), ((0, 1, 2), "method")):
        made = [maker.arm(arm, {"chat": share}, seeds=seeds) for arm, share in (("sft", 0.4), ("im", 0.9))]
        comparison = line_of(write_run(tmp_path / claim, made, info), "im").composite.comparison
        assert comparison.difference.claim == claim
        assert comparison.provisional == (claim == "method")
        maker.root = maker.root / "next"


def test_two_seeds_are_too_few_for_a_mark(maker, info, tmp_path):
    made = [maker.arm(arm, {"chat": share}, seeds=(0, 1)) for arm, share in (("sft", 0.1), ("im", 0.9))]
    comparison = line_of(write_run(tmp_path, made, info), "im").cells["chat"].comparison
    assert comparison.mark == "?"
    assert comparison.blocked == "2 seeds are too few"


def test_seeds_that_agree_exactly_fall_back_on_items(maker, info, tmp_path):
    made = [maker.arm(arm, {"chat": share}, seeds=(0, 1, 2)) for arm, share in (("sft", 0.0), ("im", 1.0))]
    cell = line_of(write_run(tmp_path, made, info), "im").cells["chat"]
    assert cell.interval.method == "wilson"
    assert cell.comparison.difference.claim == "checkpoint"
    assert cell.comparison.difference.interval.low < 1
    assert cell.comparison.mark == "+"
    assert cell.comparison.provisional


def test_five_seeds_are_no_longer_provisional(maker, info, tmp_path):
    made = [maker.arm(arm, {"chat": share}, seeds=range(5)) for arm, share in (("sft", 0.4), ("im", 0.9))]
    assert not line_of(write_run(tmp_path, made, info), "im").cells["chat"].comparison.provisional


def test_arms_without_a_common_seed_are_not_paired(maker, info, tmp_path):
    made = [maker.arm("sft", {"chat": 0.4}, seeds=(0,)), maker.arm("im", {"chat": 0.9}, seeds=(1,))]
    comparison = line_of(write_run(tmp_path, made, info), "im").composite.comparison
    assert (comparison.difference, comparison.mark, comparison.blocked) == (None, "?", "no seed in common")


def test_missing_items_block_a_mark(maker, arms, info, tmp_path):
    """Three of two hundred missing is more than 1 %; the difference is still shown."""
    arms[2] = with_scores(maker, arms[2], "chat", [1] * 197 + [None] * 3, "gap")
    comparison = line_of(write_run(tmp_path, arms, info), "dmt+im").cells["chat"].comparison
    assert comparison.difference.n == 197
    assert comparison.difference.value > 0.3
    assert comparison.mark == "?"
    assert comparison.blocked == "more than 1 % of the items are missing"


@pytest.mark.parametrize(("asked", "blocked"), [(300, ""), (299, "more than 1 % of the items are missing")])
def test_one_item_of_a_hundred_may_be_missing(maker, info, tmp_path, asked, blocked):
    """Three of 300 are 1 %, three of 299 more."""
    arms = [
        with_scores(
            maker, maker.arm(arm, {"chat": 0.5}, n=1), "chat", [answer] * (asked - 3) + [None] * 3, f"{arm} gap"
        )
        for arm, answer in (("sft", 0), ("im", 1))
    ]
    comparison = line_of(write_run(tmp_path, arms, info), "im").cells["chat"].comparison
    assert (comparison.blocked, comparison.mark) == (blocked, "?" if blocked else "+")


def test_unequal_missing_blocks_a_mark(maker, arms, info, tmp_path):
    arms[2] = with_scores(maker, arms[2], "chat", [1] * 199 + [None], "gap")
    board = write_run(tmp_path, arms, info)
    comparison = line_of(board, "dmt+im").cells["chat"].comparison
    assert (comparison.mark, comparison.blocked) == ("?", "not equally many items are missing")
    assert line_of(board, "dmt+im").composite.comparison.blocked == "not equally many items are missing"
    assert line_of(board, "dmt+im").cells["code"].comparison.blocked == ""


def test_other_items_are_not_compared(maker, arms, info, tmp_path):
    arms[2] = with_scores(maker, arms[2], "chat", [1] * 150, "fewer")
    comparison = line_of(write_run(tmp_path, arms, info), "dmt+im").cells["chat"].comparison
    assert (comparison.difference, comparison.blocked) == (None, "the items differ")


def test_other_items_are_not_compared_over_seeds_either(maker, info, tmp_path):
    made = [maker.arm("sft", {"chat": 0.4}, seeds=(0, 1, 2)), maker.arm("im", {"chat": 0.9}, seeds=(0, 1, 2), n=150)]
    line = line_of(write_run(tmp_path, made, info), "im")
    assert (line.cells["chat"].comparison.difference, line.cells["chat"].comparison.blocked) == (
        None,
        "the items differ",
    )
    assert (line.composite.comparison.difference, line.composite.comparison.mark) == (None, "?")


def test_lower_is_better_turns_the_mark_and_not_the_difference(maker, info, tmp_path):
    made = []
    for arm, share in (("sft", 0.8), ("im", 0.2)):
        one = maker.arm(arm, {"errors": share})
        seed = one.seeds[0]
        evaluation = replace(seed.evaluations["errors"], higher_is_better=False)
        made.append(replace(one, seeds=(replace(seed, evaluations={"errors": evaluation}),)))
    board = write_run(tmp_path, made, info)
    line = line_of(board, "im")
    assert line.rank == 1
    assert line.cells["errors"].comparison.difference.value < -0.4
    assert line.cells["errors"].comparison.mark == "+"
    assert line.composite.comparison.difference.value > 0.4


def test_marks_are_adjusted_for_the_number_of_comparisons(maker, info, tmp_path):
    """One difference of 6 items among 100 (p = 0.03) is marked alone, and not among ten comparisons."""
    base = [1] * 80 + [0] * 20
    better = [1] * 86 + [0] * 14
    for others, mark in ((0, "+"), (9, "?")):
        maker.root = maker.root / f"with-{others}"
        arms = [with_scores(maker, maker.arm("sft", {"chat": 0.5}), "chat", base, "sft base")]
        arms.append(with_scores(maker, maker.arm("im", {"chat": 0.5}), "chat", better, "im better"))
        for number in range(others):
            name = f"other-{number}"
            arms.append(with_scores(maker, maker.arm(name, {"chat": 0.5}), "chat", base, f"{name} base"))
        comparison = line_of(write_run(tmp_path / f"{others}", arms, info), "im").cells["chat"].comparison
        assert comparison.difference.p == pytest.approx(2 / 64)
        assert comparison.mark == mark


def test_equal_composites_share_a_rank(maker, info, tmp_path):
    made = [maker.arm(arm, {"chat": 1.0}) for arm in ("sft", "im", "dmt")]
    made.append(maker.arm("base", {"chat": 0.0}))
    assert [line.rank for line in write_run(tmp_path, made, info).lines] == [1, 1, 1, 4]


@pytest.mark.parametrize("way", [1, -1])
def test_of_several_baselines_that_with_most_seeds_in_common_is_taken(maker, info, way):
    whole, im = (maker.arm(arm, {"chat": 0.5}, n=4, seeds=range(3)) for arm in ("sft", "im"))
    arms = [replace(whole, seeds=whole.seeds[:n]) for n in (1, 3, 2)]
    row, *named = (build_row(arm, info, arm_samples(arm)) for arm in (im, *arms))
    assert baseline_of(row, [row, *named[::way]]) is named[1]


def test_without_a_baseline_nothing_is_compared(maker, info, tmp_path):
    board = write_run(tmp_path, [maker.arm("im", {"chat": 0.5})], info)
    assert board.lines[0].baseline is None
    assert board.lines[0].composite.comparison is None


def test_a_run_folder_is_complete_and_the_same_every_time(arms, info, tmp_path):
    board = write_run(tmp_path / "a", arms, info)
    write_run(tmp_path / "b", list(reversed(arms)), info)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 3 + 9 + 2 + 3 + 8  # the page holds samples by content, and two arms are perfect on one skill
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert read_board(tmp_path / "a") == board
    assert json.loads((tmp_path / "a" / "leaderboard.json").read_text())["composite"] == "macro-average"


def test_an_arm_with_a_slash_has_a_folder_of_its_own(tmp_path):
    path = samples_path(tmp_path, "dmt@dmt.k=1/64", "gsm8k", 0)
    assert path.relative_to(tmp_path).as_posix() == "samples/dmt@dmt.k=1%2F64/gsm8k/0.jsonl"


def test_a_folder_without_a_board_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no leaderboard"):
        read_board(tmp_path)
    (tmp_path / "leaderboard.json").write_text("{}")
    with pytest.raises(UserError, match="is not a leaderboard"):
        read_board(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(arms, info, tmp_path):
    (tmp_path / "samples").write_text("a file stands where a folder should")
    with pytest.raises(Failure, match="cannot be written"):
        write_run(tmp_path, arms, info)
