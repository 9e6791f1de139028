"""`harness eval`: models as they are, under the plan, store and board of `harness run`."""

import json

import pytest

from harness.cli.running import Comparison, evaluation_of, plan_of
from harness.data.resolve import Places
from harness.testing import tiny_model

PLACES = Places(None, None)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two folders with a model each, that differ in one weight."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models")
    for name in ("alpha", "beta"):
        tiny_model(folder / name).rename(folder / f"{name}-model")
    weights = load_file(folder / "beta-model" / "model.safetensors")
    save_file(
        {name: 2 * value for name, value in weights.items()},
        folder / "beta-model" / "model.safetensors",
        {"format": "pt"},
    )
    return str(folder / "alpha-model"), str(folder / "beta-model")


def evaluation(models, *settings, suite="playground", seeds=None):
    return evaluation_of(models, suite, settings, seeds=seeds, places=PLACES)


def test_every_model_is_an_arm_and_the_first_is_what_they_are_compared_with(models):
    plan = evaluation([*models, "org/name@v1"])
    assert [(arm.id, arm.baseline) for arm in plan.arms] == [
        ("alpha-model", None),
        ("beta-model", "alpha-model"),
        ("org/name@v1", "alpha-model"),
    ]
    assert [job.kind for job in plan.jobs.values()].count("train") == 0
    declared = [job.declared["model"] for job in plan.jobs.values() if job.kind == "prepare"]
    assert [(model["id"], model["revision"]) for model in declared] == [(None, None), (None, None), ("org/name", "v1")]


def test_what_a_run_has_asked_is_not_asked_again(models):
    """Evaluating a model finds the jobs of a run's arm `base` done, and the other way round."""
    settings = [f"model={models[0]}", "suite=playground"]
    run = plan_of(Comparison(None, ["base"], settings, baseline=False, seeds="1"), PLACES)
    assert evaluation(models[:1]).jobs.keys() == run.jobs.keys()


def test_seeds_are_draws_of_a_models_answers(models):
    plan = evaluation(models[:1], seeds="2")
    assert [job.declared["seed"] for job in plan.jobs.values() if job.kind == "respond"] == [0] * 3 + [1] * 3
    assert [job.kind for job in plan.jobs.values()].count("prepare") == 1


def test_a_shared_template_holds_for_all_models(models):
    plan = evaluation(models, "model.chat_template=vicuna")
    templates = {job.declared["model"]["chat_template"] for job in plan.jobs.values() if job.kind == "prepare"}
    assert len(templates) == 1
    assert None not in templates


@pytest.mark.parametrize(
    ("named", "suite", "settings", "expected"),
    [
        ([], "playground", [], "no model is named (write harness eval ORG/NAME --suite NAME; a folder does as well)"),
        (["gpt2"], None, [], "nothing says what to ask (write --suite NAME alone; there are: "),
        (["gpt2"], "math", ["benchmarks=[gsm8k]"], "two things say what to ask (write --suite NAME alone; there are: "),
        (["gpt2"], "playgroud", [], "there is no suite playgroud (give a YAML file; did you mean 'playground'?)"),
        (["./nowhere"], "playground", [], "there is no model folder ./nowhere (give a folder with config.json, or a"),
        (
            ["gpt2", "gpt2"],
            "playground",
            [],
            "two models are called 'gpt2' (evaluate one of them apart, or rename its folder)",
        ),
        (["gpt2"], "playground", ["model=other"], "--set model changes nothing here"),
        (["gpt2"], "playground", ["train.lr=1"], "--set train.lr changes nothing here"),
        (["gpt2"], "playground", ["base:train.lr=1"], "--set train.lr changes nothing here"),
        (["gpt2"], "playground", ["dmt.k=1/2"], "--set dmt.k changes nothing: 'dmt' takes no part in this run"),
        (["gpt2"], "playground", ["limits=3"], "there is no setting 'limits' (did you mean 'limit'?)"),
    ],
)
def test_what_cannot_be_is_refused(refused, named, suite, settings, expected):
    said = refused(evaluation_of, named, suite, settings, seeds=None, places=PLACES)
    assert said.startswith(expected)


def test_training_wants_data(refused):
    raw = ["data={}"]
    assert (
        refused(plan_of, Comparison(settings=raw), PLACES)
        == "stage 'all' of sft trains on no data (name some: --set data.general=SOURCE)"
    )


@pytest.fixture(scope="module")
def evaluated(models, command, tmp_path_factory):
    """`harness eval` of two models, twice answered; the folder it ran in and what it said."""
    folder = tmp_path_factory.mktemp("evaluated")
    process = command(
        "eval", *models, "--suite", "playground", "--limit", "5", "--seeds", "2", "--out", "run", cwd=folder
    )
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return folder, out


def rows_of(folder):
    return {
        row["result"]["arm"]: row
        for path in (folder / "rows").iterdir()
        for row in [json.loads(path.read_text(encoding="utf-8"))]
    }


@pytest.mark.timeout(300)
def test_two_models_make_a_board(evaluated):
    folder, out = evaluated
    assert "models: alpha-model, beta-model" in out
    assert "Suite playground 1." in out
    assert "The seeds of a model that is not trained are averaged, item by item." in out
    assert "One seed speaks" not in out
    board = json.loads((folder / "run" / "leaderboard.json").read_text(encoding="utf-8"))
    compared = {line["arm"]: line["composite"]["comparison"] for line in board["lines"]}
    assert compared["alpha-model"] is None
    assert compared["beta-model"]["difference"]["claim"] == "checkpoint"


def test_its_rows_name_the_models_and_hold_no_place(evaluated):
    rows = rows_of(evaluated[0] / "run")
    contents = {arm: row["result"]["model"]["content"] for arm, row in rows.items()}
    assert len(set(contents.values())) == 2
    assert all("/" not in json.dumps(row["result"]["model"]) for row in rows.values())
    assert {row["result"]["recipe_sha256"] for row in rows.values()} == {rows["alpha-model"]["result"]["recipe_sha256"]}
    assert "train" not in rows["alpha-model"]["result"]["recipe"]


@pytest.mark.timeout(300)
def test_models_evaluated_apart_share_a_board(evaluated, models, command):
    """So that a published board can grow, model by model; and nothing is asked twice."""
    folder, _ = evaluated
    arguments = ("eval", models[1], "--suite", "playground", "--limit", "5", "--seeds", "2", "--out", "alone")
    process = command(*arguments, cwd=folder)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "starts" not in err
    together, alone = (rows_of(folder / name)["beta-model"]["result"] for name in ("run", "alone"))
    assert alone == together


def test_the_board_can_be_checked(evaluated):
    from harness.board.check import check_run

    assert check_run(evaluated[0] / "run") == []
