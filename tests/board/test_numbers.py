"""Means with weights, totals, groups of benchmarks, and scores that are no shares: in rows, on boards, when checked."""

import json
from dataclasses import replace

import pytest

from harness.api import Total
from harness.board import ledger, text
from harness.board.admission import refuse_unpublishable
from harness.board.build import arm_samples, build_row
from harness.board.check import check_run
from harness.board.inputs import ArmRun, SeedRun
from harness.board.numbers import DeclaredSuite
from harness.board.publish import samples_path, write_run
from harness.board.rows import Row
from harness.canonical import file_digest
from harness.errors import Failure, UserError

EXAM = Total(out_of=100, drop_lowest_of=(("exam-0001",), ("exam-0002", "exam-0003")))


@pytest.fixture
def arm():
    """An arm whose benchmarks are given as finished evaluations, one mapping a seed."""

    def make(name, *seeds, baseline="sft"):
        runs = tuple(SeedRun(seed=seed, evaluations=evaluations) for seed, evaluations in enumerate(seeds))
        return ArmRun(id=name, plugins=(), seeds=runs, baseline=None if name == baseline else baseline)

    return make


@pytest.fixture
def evaluated(maker):
    """A finished evaluation: its items' scores, what the job recorded as its score, and how that is made."""

    def make(name, benchmark, scores, score, *, seed=0, weights=None, outcome="judge_error", alike=(), **declared):
        evaluation = maker.evaluation(name, benchmark, seed, scores, weights=weights, outcome=outcome, alike=alike)
        return replace(evaluation, result={**evaluation.result, "score": score}, **declared)

    return make


def row_of(arm, info):
    return build_row(arm, info, arm_samples(arm))


# --- weights -------------------------------------------------------------------------------------------------------


def test_items_count_by_their_weights(arm, evaluated, info):
    made = arm("sft", {"translation": evaluated("sft", "translation", [1.0, 0.0, 0.5], 0.75, weights=[5, 1, 2])})
    task = row_of(made, info).result.tasks["translation"]
    assert task.score == pytest.approx((5 + 0.5 * 2) / 8)
    assert task.metrics["exact_match,none"] == task.score
    assert task.metrics["length,none"] == 3.0
    assert task.interval.method == "linearised t over items"


def test_a_job_that_forgot_the_weights_makes_no_row(arm, evaluated, info):
    made = arm("sft", {"translation": evaluated("sft", "translation", [1.0, 0.0], 0.5, weights=[3, 1])})
    with pytest.raises(Failure, match=r"recorded the score 0\.5, and its samples give 0\.75"):
        row_of(made, info)


def test_a_changed_weight_is_found(arm, evaluated, info, tmp_path):
    made = arm("sft", {"translation": evaluated("sft", "translation", [1.0, 0.0], 0.75, weights=[3, 1])})
    write_run(tmp_path, [made], info)
    assert check_run(tmp_path) == []
    path = samples_path(tmp_path, "sft", "translation", 0)
    path.write_text(
        path.read_text().replace('"weights": {"exact_match,none": 3}', '"weights": {"exact_match,none": 4}')
    )
    assert any("score is 0.75, and should be 0.8" in finding for finding in check_run(tmp_path))


def test_arms_with_weights_are_compared_by_them(arm, evaluated, info, tmp_path):
    """The heavy item is right in one arm and wrong in the other, and outweighs the others."""
    wrong, right = [0.25] * 30 + [0.0] * 10, [0.20] * 30 + [1.0] * 10
    weights = [1.0] * 30 + [9.0] * 10
    arms = [
        arm("sft", {"t": evaluated("sft", "t", wrong, 7.5 / 120, weights=weights)}),
        arm("im", {"t": evaluated("im", "t", right, 96 / 120, weights=weights)}),
    ]
    cell = write_run(tmp_path, arms, info).lines[0].cells["t"]
    assert cell.comparison.difference.value == pytest.approx((96 - 7.5) / 120)
    assert cell.comparison.mark == "+"
    assert check_run(tmp_path) == []


# --- totals --------------------------------------------------------------------------------------------------------


def test_a_total_leaves_out_the_lowest_group(arm, evaluated, info, tmp_path):
    made = arm("sft", {"exam": evaluated("sft", "exam", [30, 12, 6, 5.5], 0.42, total=EXAM)})
    board = write_run(tmp_path, [made], info)
    task = row_of(made, info).result.tasks["exam"]
    assert task.score == pytest.approx((30 + 12) / 100)
    assert task.interval is None
    assert task.bounds == (0.0, 1.0)
    assert board.lines[0].composite.interval is None
    assert check_run(tmp_path) == []


def test_a_total_of_fewer_items_is_none(arm, evaluated, info):
    made = arm("sft", {"exam": evaluated("sft", "exam", [None, 12, 6, 5.5], None, outcome="ungraded", total=EXAM)})
    result = row_of(made, info).result
    assert result.tasks["exam"].score is None
    assert (result.tasks["exam"].n_missing, result.tasks["exam"].outcomes["ungraded"]) == (1, 1)
    assert (result.composite.score, result.composite.missing) == (None, ("exam",))


def test_totals_of_one_seed_differ_without_a_claim(arm, evaluated, info, tmp_path):
    arms = [
        arm(name, {"exam": evaluated(name, "exam", points, score, total=EXAM)})
        for name, points, score in (("sft", [30, 12, 6, 5.5], 0.42), ("im", [50, 12, 6, 5.5], 0.62))
    ]
    line = write_run(tmp_path, arms, info).lines[0]
    for found in (line.cells["exam"].comparison, line.composite.comparison):
        assert found.difference.value == pytest.approx(0.2)
        assert (found.difference.interval, found.difference.p, found.adjusted_p) == (None, None, None)
        assert (found.mark, found.blocked) == ("?", "a total has no interval over its items, only over seeds")
    assert check_run(tmp_path) == []


def test_totals_of_several_seeds_are_compared_over_these(arm, evaluated, info, tmp_path):
    def seeds(name, *firsts):
        return [
            {"exam": evaluated(name, "exam", [first, 12, 6, 5.5], (first + 12) / 100, seed=seed, total=EXAM)}
            for seed, first in enumerate(firsts)
        ]

    arms = [arm("sft", *seeds("sft", 30, 31, 32)), arm("im", *seeds("im", 50, 52, 51))]
    cell = write_run(tmp_path, arms, info).lines[0].cells["exam"]
    assert cell.interval.method == "t over seeds"
    assert cell.comparison.difference.claim == "method"
    assert cell.comparison.mark == "+"


# --- beyond 0 and 1 --------------------------------------------------------------------------------------------------


def test_scores_beyond_one_are_a_row_without_cut_intervals(arm, evaluated, info, tmp_path):
    scores = [1.4, 0.9, 1.6, 0.2]
    made = arm("sft", {"ter": evaluated("sft", "ter", scores, 1.025, higher_is_better=False)})
    row = row_of(made, info)
    task = row.result.tasks["ter"]
    assert task.interval.high > 1
    assert task.bounds is None
    assert row.result.composite.score == pytest.approx(1 - 1.025)
    assert Row.model_validate_json(row.model_dump_json()) == row
    assert not write_run(tmp_path, [made], info).benchmarks["ter"].bounded
    assert check_run(tmp_path) == []


# --- several draws of one model --------------------------------------------------------------------------------------


def drawn(arm, evaluated, name, *shares):
    """An untrained model of the hub, asked once for each share of right answers."""
    seeds = [
        {"chat": evaluated(name, "chat", [1] * right + [0] * (100 - right), right / 100, seed=seed)}
        for seed, right in enumerate(shares)
    ]
    return replace(arm(name, *seeds), model={"id": name, "init": None})


def test_seeds_of_one_model_are_averaged_item_by_item(arm, evaluated, info, tmp_path):
    """Over seeds, answers drawn three times would seem to tell models apart whose items tell nothing."""
    arms = [drawn(arm, evaluated, "sft", 50, 51, 52), drawn(arm, evaluated, "im", 53, 54, 55)]
    line = write_run(tmp_path, arms, info).lines[0]
    cell = line.cells["chat"]
    assert cell.score == pytest.approx(0.54)
    assert cell.interval.method == "t over items"
    assert (cell.comparison.difference.claim, cell.comparison.difference.n) == ("checkpoint", 100)
    assert cell.comparison.difference.value == pytest.approx(0.03)
    assert (cell.comparison.provisional, line.composite.comparison.difference.claim) == (False, "checkpoint")
    assert line.composite.interval.method == "bootstrap over items"
    assert "The seeds of a model that is not trained are averaged, item by item." in text.legend(
        write_run(tmp_path, arms, info)
    )
    assert check_run(tmp_path) == []


def test_a_method_against_one_model_is_judged_over_seeds(arm, evaluated, info, maker, tmp_path):
    trained = replace(maker.arm("im", {"chat": 0.9}, seeds=(0, 1, 2), n=100))
    board = write_run(tmp_path, [drawn(arm, evaluated, "sft", 50, 51, 52), trained], info)
    assert board.lines[0].cells["chat"].comparison.difference.claim == "method"


# --- suites ----------------------------------------------------------------------------------------------------------

GROUPED = DeclaredSuite(name="own", version=2, groups={"maths": ("a", "b"), "code": ("c",)})


def test_the_composite_is_the_mean_of_group_means(arm, evaluated, info, tmp_path):
    scores = {"a": [1, 0], "b": [1, 1], "c": [0, 0, 0, 1]}
    made = arm("sft", {name: evaluated("sft", name, of, sum(of) / len(of)) for name, of in scores.items()})
    info = replace(info, suite=GROUPED)
    composite = row_of(made, info).result.composite
    assert composite.rule == "macro-average of groups"
    assert composite.groups == {"maths": pytest.approx(0.75), "code": 0.25}
    assert composite.score == pytest.approx(0.5)
    line = write_run(tmp_path, [made], info).lines[0]
    assert {group: (cell.score, cell.items) for group, cell in line.groups.items()} == {
        "maths": (pytest.approx(0.75), 4),
        "code": (0.25, 4),
    }
    assert line.composite.interval.low < 0.5 < line.composite.interval.high
    assert check_run(tmp_path) == []


def test_arms_are_compared_on_the_grouped_composite(arm, evaluated, info, tmp_path):
    """With groups, code alone weighs as much as both of maths together."""

    def evaluations(name, code):
        return {
            "a": evaluated(name, "a", [1] * 50, 1.0),
            "b": evaluated(name, "b", [0] * 50, 0.0),
            "c": evaluated(name, "c", [code] * 50, float(code)),
        }

    arms = [arm("sft", evaluations("sft", 0)), arm("im", evaluations("im", 1))]
    board = write_run(tmp_path, arms, replace(info, suite=GROUPED))
    assert board.lines[0].composite.comparison.difference.value == pytest.approx(0.5)
    assert board.lines[0].composite.comparison.mark == "+"
    flat = write_run(tmp_path / "flat", arms, info)
    assert flat.lines[0].composite.comparison.difference.value == pytest.approx(1 / 3)


def test_the_suite_is_hashed_with_all_that_makes_its_numbers(arm, evaluated, info):
    made = arm("sft", {name: evaluated("sft", name, [1, 0], 0.5) for name in "abc"})

    def sha256(**declared):
        return row_of(made, replace(info, suite=GROUPED.model_copy(update=declared))).result.suite.sha256

    assert len({sha256(), sha256(version=3), sha256(name="other"), sha256(groups={"all": ("a", "b", "c")})}) == 4


def test_without_a_benchmark_there_is_no_composite_and_the_board_says_which(arm, evaluated, info, tmp_path):
    made = arm("sft", {"a": evaluated("sft", "a", [1, 0], 0.5)})
    left_out = DeclaredSuite(name="own", version=1, left_out={"judged": ("strict-1", "rating")})
    board = write_run(tmp_path, [made], replace(info, suite=left_out))
    assert board.lines[0].composite.score is None
    assert board.lines[0].missing == ("judged",)
    assert "sft: no composite without judged." in text.legend(board)
    assert check_run(tmp_path) == []
    with pytest.raises(UserError, match="it leaves out judged"):
        refuse_unpublishable(row_of(made, replace(info, suite=left_out)))


def test_a_left_out_benchmark_is_part_of_the_suite_all_the_same(arm, evaluated, info):
    """So that scoring it later does not make another suite of it."""
    a, judged = evaluated("sft", "a", [1, 0], 0.5), evaluated("sft", "judged", [1, 0], 0.5)
    declared = DeclaredSuite(name="own", version=1)
    without = declared.model_copy(update={"left_out": {"judged": ("strict-1", "exact_match,none")}})
    rows = [
        row_of(arm("sft", {"a": a, "judged": judged}), replace(info, suite=declared)),
        row_of(arm("sft", {"a": a}), replace(info, suite=without)),
    ]
    assert rows[0].result.suite.sha256 == rows[1].result.suite.sha256


# --- in words --------------------------------------------------------------------------------------------------------


def test_every_benchmark_is_shown_on_its_own_scale(arm, evaluated, info, tmp_path, printed):
    arms = [
        arm(
            name,
            {
                "mt_bench": evaluated(name, "mt_bench", rated, sum(rated) / 4, out_of=10),
                "exam": evaluated(name, "exam", [30, 12, 6, 5.5], 0.42, total=EXAM),
                "ter": evaluated(name, "ter", [1.5, 0.5], 1.0),
            },
        )
        for name, rated in (("sft", [0.5, 0.6, 0.7, 0.8]), ("im", [0.7, 0.8, 0.9, 0.95]))
    ]
    board = write_run(tmp_path, arms, info)
    for shown in (printed(board, 200), printed(board, 70)):
        assert "out of 10" in shown
        assert "6.50" in shown
        assert "+1.88" in shown
        assert "42.0" in shown
    legend = text.legend(board)
    assert "Other scales: mt_bench out of 10." in legend
    assert "Not cut, since some items lie beyond: ter." in legend


def test_groups_are_shown_beside_the_composite(arm, evaluated, info, tmp_path, printed):
    made = arm("sft", {name: evaluated("sft", name, [1, 0, 0, 0], 0.25) for name in "abc"})
    board = write_run(tmp_path, [made], replace(info, suite=GROUPED))
    for shown in (printed(board, 200), printed(board, 60)):
        assert "maths" in shown
        assert "Suite own 2." in shown
        assert "composite: macro-average of groups." in shown


def test_what_failed_to_be_scored_is_counted_by_kind(arm, evaluated, info, tmp_path):
    made = arm("sft", {"mt_bench": evaluated("sft", "mt_bench", [1, 0, None], 0.5, outcome="judge_unparsed")})
    board = write_run(tmp_path, [made], info)
    assert board.lines[0].cells["mt_bench"].unscored == {"judge_unparsed": 1}
    assert "mt_bench: missing: sft 1 judge unparsed." in text.legend(board)


def test_one_answer_to_most_questions_is_told(arm, evaluated, judged, judging, tmp_path):
    won_over = evaluated("sft", "mt_bench", [0.9, 0.9, 1.0, 0.9], 0.925, alike=(0, 1, 3))
    made = judged(arm("sft", {"mt_bench": won_over}), "mt_bench")
    board = write_run(tmp_path, [made], judging)
    assert board.lines[0].cells["mt_bench"].alike == 3
    said = "mt_bench: near copies of one answer, by which a judge may have been won over: sft 3 of 4."
    assert said in text.legend(board)
    ledger.add(build_row(made, judging, samples := arm_samples(made)), samples, tmp_path / "published")
    (published,) = (tmp_path / "published" / "samples").iterdir()
    assert [json.loads(line).get("alike") for line in published.read_text().rstrip("\n").split("\n")] == [
        True, True, None, True
    ]  # fmt: skip


# --- what is not said of plain benchmarks ----------------------------------------------------------------------------


def test_a_plain_row_holds_none_of_this(arm, evaluated, info, tmp_path):
    """So that a row of an earlier version keeps its digest, and a reader of it is told nothing new."""
    board = write_run(tmp_path, [arm("sft", {"a": evaluated("sft", "a", [1, 0], 0.5)})], info)
    text = (tmp_path / "rows" / f"{board.lines[0].row}.json").read_text()
    for name in ("total", "out_of", "bounded", "version", "groups", "left_out", "missing", "alike", "needs"):
        assert f'"{name}"' not in text.replace('"schema_version"', "")


def test_published_samples_keep_their_weights(arm, evaluated, info, tmp_path):
    made = arm("sft", {"t": evaluated("sft", "t", [1.0, 0.0], 0.75, weights=[3, 1])})
    samples = arm_samples(made)
    row = build_row(made, info, samples)
    ledger.add(row, samples, tmp_path)
    (path,) = (tmp_path / "samples").iterdir()
    assert [json.loads(line)["weights"] for line in path.read_text().rstrip("\n").split("\n")] == [
        {"exact_match,none": 3},
        {"exact_match,none": 1},
    ]
    assert file_digest(path) == path.stem
