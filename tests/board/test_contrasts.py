"""Chosen arms against each other: claims, families, refusals, power, and seeds as a level of their own."""

from dataclasses import replace
from statistics import stdev

import pytest

from harness.board.contrasts import Contrasts, against_baseline, against_first, all_pairs, contrasts
from harness.board.contrasttext import family
from harness.board.ledger import add
from harness.board.numbers import DeclaredSuite
from harness.board.publish import read_board, read_row, run_samples, write_run
from harness.board.sources import scores_from, sources
from harness.errors import UserError


@pytest.fixture
def run(info, tmp_path):
    """Writes a run of these arms and returns its rows, in the order given, and where their scores are."""

    def run(arms, name="run", **options):
        write_run(tmp_path / name, arms, replace(info, **options))
        return sources([arm.id for arm in arms], tmp_path / name, tmp_path / "leaderboards")

    return run


def compared(found, pairs=against_first, **options):
    rows = [one.row for one in found]
    return contrasts(rows, pairs(rows), scores_from(found), **options)


def answering(maker, arm, scores, benchmark="chat", seed=0, **options):
    """An arm of one seed with these scores."""
    made = maker.arm(arm, {benchmark: 0.5}, seeds=(seed,))
    evaluation = maker.evaluation(f"{arm} again", benchmark, seed, scores, **options)
    return replace(made, seeds=(replace(made.seeds[0], evaluations={benchmark: evaluation}),))


def test_a_contrast_says_what_a_board_says_of_the_same_arms(run, arms, tmp_path):
    made = compared(run(arms))
    lines = {line.row: line for line in read_board(tmp_path / "run").lines}
    assert [(side.rank, side.rank_low, side.rank_high, side.group) for side in made.sides] == [
        (line.rank, line.rank_low, line.rank_high, line.group) for line in lines.values()
    ]
    for one in made.contrasts:
        assert one.composite == lines[one.arm].composite.comparison
        assert one.cells == {name: cell.comparison for name, cell in lines[one.arm].cells.items()}
    assert Contrasts.model_validate_json(made.model_dump_json()) == made


def test_which_arms_are_compared(run, arms):
    found = run(arms)
    names = {one.row.id: one.row.result.arm for one in found}

    def chosen(pairs):
        return [(names[a.id], names[b.id]) for a, b in pairs([one.row for one in found])]

    assert chosen(against_first) == [("dmt", "sft"), ("dmt+im", "sft")]
    assert chosen(all_pairs) == [("dmt", "sft"), ("dmt+im", "sft"), ("dmt+im", "dmt")]
    found = found[::-1]
    assert chosen(against_baseline) == [("dmt+im", "sft"), ("dmt", "sft")]


def test_a_baseline_that_is_not_there_is_replaced_by_the_first(run, arms):
    rows = [one.row for one in run(arms)[1:]]
    assert against_baseline(rows) == [(rows[1], rows[0])]


def test_seeds_are_a_level_of_their_own(maker, run):
    found = run([maker.arm(arm, {"chat": share}, seeds=range(4)) for arm, share in (("sft", 0.4), ("im", 0.6))])
    (one,) = compared(found).contrasts
    scores = [source.row.result.composite.seeds for source in found]
    differences = [scores[1][seed] - scores[0][seed] for seed in range(4)]
    assert one.composite.difference.claim == "method"
    assert list(one.by_seed.values()) == pytest.approx(differences)
    assert one.spread_over_seeds == pytest.approx(stdev(differences))
    # 200 items each, independent, right with chances .4 and .6: the standard error is sqrt(2 * .24 / 200)
    assert one.spread_over_items == pytest.approx((2 * 0.24 / 200) ** 0.5, rel=0.06)


def test_one_seed_has_no_spread_over_seeds(run, arms):
    one = compared(run(arms)).contrasts[0]
    assert (one.composite.difference.claim, one.spread_over_seeds) == ("checkpoint", None)
    assert one.spread_over_items == one.composite.difference.error


def test_equal_is_marked_only_after_a_test_of_equivalence(maker, run):
    """2,000 items with one disagreement each way are equal within a point, and 100 items cannot show it."""
    for n, mark in ((2000, "="), (100, "?")):
        maker.root = maker.root / f"{n}"
        arms = [answering(maker, "sft", [1, 0] + [1] * (n - 2)), answering(maker, "im", [0, 1] + [1] * (n - 2))]
        (one,) = compared(run(arms, f"run-{n}")).contrasts
        assert one.composite.mark == mark
        assert (one.composite.attainable_margin > 0.01) == (mark == "?")
    (wide,) = compared(run(arms, "run-100"), margin=0.1).contrasts
    assert wide.composite.mark == "="


def test_what_differs_by_less_than_the_margin_is_still_marked_as_different(maker, run):
    """30 of 10,000 items, all one way: worse beyond doubt (p = 2 / 2^30), and by less than a point."""
    arms = [answering(maker, "sft", [1] * 10_000), answering(maker, "im", [0] * 30 + [1] * 9_970)]
    (one,) = compared(run(arms)).contrasts
    assert one.composite.mark == "-"
    assert one.composite.adjusted_equivalence_p < 0.05


def test_grade_school_problems_alone_cannot_show_equality_within_a_point(maker, run):
    """1,319 items of which two models disagree on 19 %: 3.4 points can be found, and equality within 2."""
    n, each = 1319, 125
    sft, im = [1] * each + [0] * each, [0] * each + [1] * each
    arms = [answering(maker, "sft", sft + [1] * (n - 2 * each)), answering(maker, "im", im + [1] * (n - 2 * each))]
    (one,) = compared(run(arms)).contrasts
    assert one.composite.difference.value == 0
    assert one.composite.mark == "?"
    assert one.composite.detectable == pytest.approx(0.034, abs=0.0005)
    assert one.composite.attainable_margin == pytest.approx(1.645 * (250 / n**2) ** 0.5, rel=0.01)


def test_families_are_those_of_what_is_compared(maker, run):
    """Six of a hundred items (p = 2 / 64) differ alone, and not as one of two composites."""
    base, better = [1] * 80 + [0] * 20, [1] * 86 + [0] * 14
    arms = [answering(maker, "sft", base), answering(maker, "im", better), answering(maker, "dmt", base)]
    found = run(arms)
    assert compared(found[:2]).contrasts[0].composite.mark == "+"
    assert compared(found).contrasts[0].composite.mark == "?"
    assert compared(found).contrasts[0].composite.adjusted_p == pytest.approx(4 / 64)


def test_what_is_blocked_is_not_said_to_have_been_adjusted_for(maker, run):
    """One arm lacks an item of chat, and so its composite; on code it is compared."""
    arms = [maker.arm(arm, {"chat": 0.5, "code": 0.5}) for arm in ("sft", "im", "dmt")]
    lacking = maker.evaluation("dmt again", "chat", 0, [1] * 199 + [None])
    seed = arms[2].seeds[0]
    arms[2] = replace(arms[2], seeds=(replace(seed, evaluations={**seed.evaluations, "chat": lacking}),))
    made = compared(run(arms))
    assert family(made) == "Holm over 1 composite, Benjamini-Hochberg over 3 benchmarks"


def test_arms_of_two_runs_are_compared_and_told_apart_by_their_ids(maker, run):
    a = run([maker.arm("sft", {"chat": 0.5}, seeds=(0,))], "a")
    maker.root = maker.root / "again"
    b = run([answering(maker, "sft", [1] * 200)], "b", recipe={"train": {"lr": 0.1}})
    made = compared(a + b)
    assert sorted(side.label for side in made.sides) == sorted(f"sft {one.row.id[:8]}" for one in a + b)
    assert made.contrasts[0].composite.mark == "+"


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"scores": [1] * 199}, "the items differ"),
        ({"seed": 1}, "no seed in common"),
        ({"protocol": "official-1"}, "chat has the protocol strict-1 and official-1"),
        ({"rule": {"higher_is_better": False}}, "chat is not scored alike: higher_is_better is False, and not True"),
        ({"rule": {"out_of": 10}}, "chat is not scored alike: out_of is 10.0, and not 100"),
        ({"judge": {"model": "b", "name": "judge"}}, "chat was judged by nobody and by model=b name=judge"),
        ({"suite": DeclaredSuite(name="playground", version=2)}, "one was asked playground, the other playground 2"),
        ({"limit": 200}, "one was asked all items of each benchmark, the other 200"),
    ],
)
def test_what_was_asked_or_scored_otherwise_is_refused(maker, run, other, problem):
    base = answering(maker, "sft", [1] * 200)
    row = answering(maker, "im", other.get("scores", [1] * 200), seed=other.get("seed", 0))
    seed = row.seeds[0]
    evaluation = seed.evaluations["chat"]
    evaluation = replace(evaluation, protocol=other.get("protocol", evaluation.protocol), **other.get("rule", {}))
    if "judge" in other:
        evaluation = replace(evaluation, result={**evaluation.result, "judge": other["judge"]})
    row = replace(row, seeds=(replace(seed, evaluations={"chat": evaluation}),))
    options = {name: other[name] for name in ("suite", "limit") if name in other}
    found = [*run([base], "a"), *run([row], "b", **options)]
    with pytest.raises(UserError) as error:
        compared(found)
    assert error.value.problem == f"sft and im cannot be compared: {problem}"


def test_one_arm_is_no_comparison(run, arms):
    found = run(arms)
    with pytest.raises(UserError, match="one arm is no comparison"):
        compared(found[:1])
    with pytest.raises(UserError, match="sft is compared with itself"):
        compared([found[0], found[0]])


def test_rows_are_found_by_what_people_call_them(run, arms, tmp_path):
    run(arms)
    public, folder = tmp_path / "leaderboards", tmp_path / "run"
    for line in read_board(folder).lines:
        row = read_row(folder, line.row)
        add(row, {(name, 0): run_samples(folder, row, name, 0) for name in row.result.tasks}, public)

    def named(*names, run=None):
        return [one.row.result.arm for one in sources(names, run, public)]

    ids = {line.arm: line.row for line in read_board(folder).lines}
    assert named(str(folder)) == named(run=folder) == ["dmt+im", "sft", "dmt"]
    assert named(f"{folder}:dmt", "sft", ids["dmt+im"][:8]) == ["dmt", "sft", "dmt+im"]
    assert named("dmt", "sft", run=folder) == ["dmt", "sft"]
    (row,) = sources(["sft"], None, public)
    assert row.scores("chat", 0) == sources([f"{folder}:sft"], None, public)[0].scores("chat", 0)
    for name, problem in {
        "sfd": "'sfd' is neither a run folder nor an arm of",
        "0" * 12: "no row of .* has an id",
        f"{folder}:sfd": "has no arm 'sfd'",
        str(tmp_path): "holds no leaderboard",
    }.items():
        with pytest.raises(UserError, match=problem):
            named(name)
    with pytest.raises(UserError, match="has no arm 'sfd'"):
        named("sfd", run=folder)
    with pytest.raises(UserError, match="'sft' is no run folder"):
        sources(["sft"], None, tmp_path / "nowhere")
