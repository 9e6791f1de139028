"""Rows that a pull request may bring: every digest is right and the entry well formed, and still something is not."""

from dataclasses import replace

import pytest

from harness.api import Total
from harness.board import ledger
from harness.board.admission import unpublishable
from harness.board.build import arm_samples, build_row
from harness.board.check import check_leaderboards
from harness.board.inputs import GitState
from harness.board.judges import judge_gaps
from harness.board.numbers import DeclaredSuite, composite, seed_result, task_result
from harness.board.rows import Result, Row, result_digest
from harness.canonical import digest
from harness.errors import UserError


def forged(row, **changes):
    """The row with another result, and the id of that."""
    result = row.result.model_copy(update=changes)
    return Row(id=result_digest(result), result=result, measured=row.measured)


def rescored(row, samples, **measures):
    """The row as it follows from these samples, some of its benchmarks measured otherwise."""
    tasks = {}
    for name, task in row.result.tasks.items():
        measure = task.model_copy(update=measures.get(name, {}))
        found = [samples[name, part.seed] for part in task.seeds]
        seeds = [seed_result(part.seed, of, measure, len(of)) for part, of in zip(task.seeds, found, strict=True)]
        tasks[name] = task_result(measure, seeds, found, one_model=False)
    return forged(row, tasks=tasks, composite=composite(tasks, row.result.suite, one_model=False))


@pytest.fixture
def made(info):
    """An arm's row and samples."""

    def made(arm, info=info):
        samples = arm_samples(arm)
        return build_row(arm, info, samples), samples

    return made


@pytest.fixture
def folder(maker, made, tmp_path):
    """A board with one row, sft's."""
    ledger.add(*made(maker.arm("sft", {"chat": 0.6, "code": 0.9}, n=40)), tmp_path / "leaderboards")
    return tmp_path / "leaderboards"


@pytest.fixture
def dmt(maker, made):
    """Its rival."""
    return made(maker.arm("dmt", {"chat": 0.2, "code": 0.92}, n=40))


@pytest.fixture
def im(maker, made, info):
    """Another, of a run that was otherwise in something."""
    return lambda **change: made(maker.arm("im", {"chat": 0.5, "code": 0.9}, n=40), replace(info, **change))


@pytest.fixture
def finds(folder, proposed):
    """That a proposed row is found for this reason, and no other, and that `add` refuses it too."""

    def finds(row, samples, *said, into=folder):
        with pytest.raises(UserError, match="cannot be published") as refused:
            ledger.add(row, samples, into)
        proposed(into, row, samples)
        for why in said:
            assert why in str(refused.value)
        assert check_leaderboards(into) == [f"row {row.id[:12]} ({row.result.arm}): {why}" for why in said]

    return finds


# --- how numbers are made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"higher_is_better": False}, "higher_is_better is False, and not True"),
        ({"total": Total(out_of=40.0)}, "total is Total(out_of=40.0, drop_lowest_of=()), and not None"),
        ({"out_of": 10}, "out_of is 10.0, and not 100"),
    ],
)
def test_a_row_with_a_rule_of_its_own(folder, dmt, proposed, change, said):
    """Which makes a bad benchmark a good one, and the arm the first of its board."""
    first = ledger.read_ledger(folder)[0].row
    row = rescored(*dmt, chat=change)
    with pytest.raises(UserError, match="cannot be published: chat, seed 0: ") as refused:
        ledger.add(row, dmt[1], folder)
    assert said in str(refused.value)
    proposed(folder, row, dmt[1])
    assert check_leaderboards(folder) == [f"row {row.id[:12]} (dmt): chat: {said} as in row {first[:12]} (sft)"]


def test_a_rule_that_the_installed_benchmark_does_not_have(maker, made, finds, tmp_path):
    arm = maker.arm("sft", {"playground_chat": 0.2}, n=40)
    of = arm.seeds[0].evaluations["playground_chat"]
    arm = replace(arm, seeds=(replace(arm.seeds[0], evaluations={"playground_chat": replace(of, protocol="exact-1")}),))
    row, samples = made(arm)
    ledger.add(row, samples, tmp_path / "honest")
    assert check_leaderboards(tmp_path / "honest") == []
    row = rescored(row, samples, playground_chat={"higher_is_better": False})
    said = "playground_chat: higher_is_better is False, and not True, as exact-1 has it"
    finds(row, samples, said, into=tmp_path / "to")


def test_a_judge_that_nobody_speaks_of(maker, made, proposed, tmp_path):
    """The one row of its board; who is installed knows that mt_bench's numbers are a judge's."""
    arm = maker.arm("sft", {"mt_bench": 0.5}, n=40)
    of = replace(arm.seeds[0].evaluations["mt_bench"], protocol="official-1", out_of=10)
    row, samples = made(replace(arm, seeds=(replace(arm.seeds[0], evaluations={"mt_bench": of}),)))
    said = "mt_bench: seed 0 does not say who judged it, by name and model"
    assert judge_gaps(row.result) == [said]
    with pytest.raises(UserError, match=said):
        ledger.add(row, samples, tmp_path)
    proposed(tmp_path, row, samples)
    assert f"row {row.id[:12]} (sft): {said}" in check_leaderboards(tmp_path)


@pytest.mark.parametrize("judge", [{"model": " ", "name": "\u200b"}, {"model": ["x"], "name": "y"}])
def test_a_judge_without_a_name(maker, made, judged, info, judge):
    arm = judged(maker.arm("sft", {"chat": 0.5}, n=40), "chat", judge=judge)
    row, _ = made(arm, replace(info, recipe={**info.recipe, "judge": judge}))
    assert judge_gaps(row.result) == ["chat: seed 0 does not say who judged it, by name and model"]


@pytest.mark.parametrize("protocol", ["exact-1 ", "exact-1\u200b", ""])
def test_a_protocol_that_looks_like_another(maker, made, finds, protocol):
    arm = maker.arm("im", {"chat": 0.2}, n=40)
    of = replace(arm.seeds[0].evaluations["chat"], protocol=protocol)
    row, samples = made(replace(arm, seeds=(replace(arm.seeds[0], evaluations={"chat": of}),)))
    finds(row, samples, "its protocols cannot be called so: a name is one printable line of at most 500 characters")


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        (("gsm8k", "gsm8k_cot"), "which differs from it in hungarian_exam"),
        (("gsm8k", "gsm8k_cot", "hungarian_exam"), "which has other groups"),
    ],
)
def test_a_suite_in_the_name_of_another(maker, info, made, benchmarks, said):
    """The suite `math` groups both protocols of grade-school problems, so that the exam has half of the weight."""
    arm = maker.arm("sft", dict.fromkeys(benchmarks, 0.5), n=40)
    row, _ = made(arm, replace(info, suite=DeclaredSuite(name="math", version=1)))
    assert f"its suite is called math 1, {said}" in unpublishable(row)
    row, _ = made(arm, replace(info, suite=DeclaredSuite(name="math", version=2)))
    assert not any("its suite is called" in why for why in unpublishable(row))


# --- what may not be published ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": 10}, "it asked only the first 10 items of each benchmark"),
        ({"git": GitState("0" * 40, dirty=True)}, "it ran from a git tree with uncommitted changes"),
        ({"accepted_source": True}, "it ran with --accept-source, on results that other source code made"),
        ({"suite": DeclaredSuite(name="own", left_out={"more": ("strict-1", "rating")})}, "it leaves out more"),
    ],
)
def test_a_row_that_ran_otherwise(im, finds, change, said):
    finds(*im(**change), said)


def test_a_plugin_from_a_file(maker, made, finds):
    arm = maker.arm("mine", {"chat": 0.5, "code": 0.9}, n=40)
    arm = replace(arm, plugins=(replace(arm.plugins[0], distribution=None),))
    finds(*made(arm), "plug-in mine was loaded from a file and not from an installed distribution")


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_two_seeds_told_as_four(maker, made, finds):
    arm = maker.arm("im", {"chat": 0.7, "code": 0.9}, n=40, seeds=(0, 1))
    a, b = arm.seeds
    row, samples = made(replace(arm, seeds=(a, b, replace(a, seed=2), replace(b, seed=3))))
    shared = [min(one.train[-1].key, *(of.key for of in one.evaluations.values()))[:12] for one in (a, b)]
    finds(
        row,
        samples,
        f"seeds 0 and 2 share the job {shared[0]}, and so are one model",
        f"seeds 1 and 3 share the job {shared[1]}, and so are one model",
    )


def renamed(seed, number):
    """Another seed with jobs of other names, and all that this one answered."""
    return replace(
        seed,
        seed=number,
        train=tuple(replace(one, key=digest([one.key, number])) for one in seed.train),
        evaluations={name: replace(one, key=digest([one.key, number])) for name, one in seed.evaluations.items()},
    )


def test_a_seed_under_jobs_of_other_names(maker, made, finds):
    arm = maker.arm("im", {"chat": 0.7, "code": 0.9}, n=40)
    row, samples = made(replace(arm, seeds=(arm.seeds[0], renamed(arm.seeds[0], 1))))
    finds(row, samples, "seeds 0 and 1 have the same samples of every benchmark")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_seeds_that_get_all_right_or_nothing_may_answer_alike(maker, made, folder, share):
    arm = maker.arm("im", {"chat": share, "code": share}, n=40)
    ledger.add(*made(replace(arm, seeds=(arm.seeds[0], renamed(arm.seeds[0], 1)))), folder)
    assert check_leaderboards(folder) == []


def test_draws_of_one_model_may_be_equal(maker, made, folder):
    """A model that is not trained, asked twice without sampling."""
    arm = maker.arm("base", {"chat": 0.7, "code": 0.9}, n=40)
    seed = replace(arm.seeds[0], train=())
    arm = replace(arm, seeds=(seed, replace(seed, seed=1)), model={"id": "a model", "init": None})
    ledger.add(*made(arm), folder)
    assert check_leaderboards(folder) == []


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_row_without_its_jobs_is_none(dmt):
    content = dmt[0].result.model_dump(mode="json")
    content["seeds"][0]["evaluations"].pop("chat")
    with pytest.raises(ValueError, match="every number of a row has the job that scored it"):
        Result.model_validate(content)


@pytest.mark.parametrize("model", [None, "a digest", ["init"]])
def test_a_model_that_is_no_mapping_is_no_row(dmt, model):
    content = dmt[0].model_dump(mode="json")
    content["result"]["model"] = model
    with pytest.raises(ValueError, match=r"result\.model\n  Input should be a valid dictionary"):
        Row.model_validate(content)


# --- items -----------------------------------------------------------------------------------------------------------


def test_dropped_items_under_a_recipe_of_its_own(im, info, finds):
    """What it got wrong is left out; no row shares its recipe, and all share the suite."""
    row, samples = im(recipe={**info.recipe, "note": 1})
    kept = {
        key: [one for one in of if key[0] == "code" or one["scores"]["exact_match,none"]] for key, of in samples.items()
    }
    assert 0 < len(kept["chat", 0]) < 40
    finds(rescored(row, kept), kept, f"chat, seed 0: {len(kept['chat', 0])} items were asked, and 40 of other rows")


def test_right_answers_that_weigh_more(dmt, finds):
    """With all other weights left as they are, and the first item right."""
    row, samples = dmt
    right = [one["id"] for one in samples["chat", 0] if one["scores"]["exact_match,none"]]
    weighed = {
        key: [
            {**one, "weights": {"exact_match,none": 1000.0}} if key[0] == "chat" and one["id"] in right else one
            for one in of
        ]
        for key, of in samples.items()
    }
    row = rescored(row, weighed)
    assert row.result.tasks["chat"].score > 0.99
    finds(row, weighed, f"chat, seed 0: item {min(right)} weighs 1000, and 1 in other rows")


def test_items_of_a_judged_benchmark_weigh_as_many_judgments_as_could_be_read(maker, made, judged, judging, tmp_path):
    for name, weight in (("sft", 2), ("im", 1)):
        arm = judged(maker.arm(name, {"chat": 0.5}, n=2, baseline=None), "chat")
        of = arm.seeds[0].evaluations["chat"]
        scores = [1.0, 0.0]
        weighed = maker.evaluation(f"{name} weighed", "chat", 0, scores, weights=[weight, 2])
        result = {**weighed.result, "judge": of.result["judge"], "score": weight / (weight + 2)}
        weighed = replace(weighed, result=result, needs=("judge",))
        arm = replace(arm, seeds=(replace(arm.seeds[0], evaluations={"chat": weighed}),))
        ledger.add(*made(arm, judging), tmp_path / "to")
    assert check_leaderboards(tmp_path / "to") == []


# --- whose row it replaces -------------------------------------------------------------------------------------------


def test_a_row_in_the_place_of_another_arm(folder, dmt, proposed):
    first = ledger.read_ledger(folder)[0].row
    with pytest.raises(UserError, match=f"the row of dmt cannot replace {first[:12]}, which is sft's"):
        ledger.add(*dmt, folder, supersedes=first, reason="mine is better")
    proposed(folder, *dmt, kind="supersede", supersedes=first, reason="mine is better")
    row = dmt[0].id[:12]
    said = f"ledger.jsonl:2: row {row} (dmt) replaces row {first[:12]} (sft), which is not its arm on its suite"
    assert check_leaderboards(folder) == [said]


def test_a_row_in_the_place_of_one_on_another_suite(folder, maker, made):
    first = ledger.read_ledger(folder)[0].row
    easier = made(maker.arm("sft", {"code": 0.9}, n=40, seeds=(1,)))
    with pytest.raises(UserError, match=f"cannot replace {first[:12]}, which is sft's, on another suite"):
        ledger.add(*easier, folder, supersedes=first, reason="fewer benchmarks")
