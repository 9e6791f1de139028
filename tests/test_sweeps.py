"""Sweeps: an arm for each value, what they share, what they are compared with, and what cannot be swept."""

import json
from collections import Counter

import pytest
import yaml

from harness.cli.plantext import sharing
from harness.data.resolve import Places
from harness.plan import arm_jobs
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.settings import Setting, Sweep
from harness.store import Store
from harness.sweeps import swept_seeds
from harness.testing import run_tiny

SIX = ("0", "1/20", "1/10", "1/4", "1/2", "1")


@pytest.fixture
def planned(tmp_path):
    """The plan of arms of the playground, or of a recipe on top of it: `planned("dmt", sweeps=["dmt.k=0,1"])`."""

    def plan(*arms, sweeps=(), settings=(), baseline=True, factorial=False, **recipe):
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump({"extends": "playground", "name": "own", "seeds": [0], **recipe}))
        parsed = [*swept_seeds(sweeps), *map(Setting.parse, settings)]
        resolved = load(str(path), parsed, arms)
        chosen = choose_arms(resolved, arms, parsed, sweeps, baseline=baseline, factorial=factorial)
        return build(resolved, chosen, Places(None, tmp_path / "cache"))

    return plan


def against(plan):
    return {arm.id: arm.baseline for arm in plan.arms}


# --- arms ----------------------------------------------------------------------------------------------------------


def test_one_arm_for_each_value(planned):
    plan = planned("dmt", "im", "im,dmt", sweeps=["dmt.k=0,1/256"])
    swept = ["dmt@dmt.k=0", "dmt@dmt.k=1/256", "im", "dmt+im@dmt.k=0", "dmt+im@dmt.k=1/256"]
    assert against(plan) == {"sft": None, **dict.fromkeys(swept, "sft")}


def test_a_swept_value_is_in_the_name_also_where_the_recipe_says_the_same(planned):
    assert [arm.id for arm in planned("dmt", sweeps=["dmt.k=1/8"], baseline=False).arms] == ["dmt@dmt.k=1/8"]


def test_a_swept_arm_is_the_one_that_is_written_so(planned):
    swept = planned("dmt", sweeps=["dmt.k=1/4"])
    assert swept.arms[1].id == planned("dmt:k=1/4").arms[1].id
    assert swept.jobs.keys() == planned("dmt:k=1/4").jobs.keys()


def test_sweeps_multiply_and_so_do_seeds(planned):
    plan = planned("im,dmt", sweeps=["dmt.k=0,1/4", "im.prompt_weight=1/2,1", "seeds=3,4"], baseline=False)
    assert [arm.id for arm in plan.arms] == [
        f"dmt+im@dmt.k={k},im.prompt_weight={weight}" for k in ("0", "1/4") for weight in ("1/2", "1")
    ]
    assert {tuple(seed.seed for seed in arm.seeds) for arm in plan.arms} == {(3, 4)}
    stages = Counter(job.label.partition(": ")[2] for job in plan.jobs.values() if job.kind == "train")
    assert stages == {
        "train specialist (seed 3)": 2,  # one for each weight of the prompt
        "train general (seed 3)": 4,
        "train specialist (seed 4)": 2,
        "train general (seed 4)": 4,
    }


def test_a_sweep_for_one_arm_alone(planned):
    plan = planned("dmt", "im,dmt", sweeps=["im,dmt:train.lr=1e-3,2e-3"])
    assert [arm.id for arm in plan.arms] == ["sft", "dmt", "dmt+im@train.lr=0.001", "dmt+im@train.lr=0.002"]


def test_every_part_of_a_factorial_is_swept(planned):
    plan = planned("im,dmt", sweeps=["dmt.k=0,1"], factorial=True)
    assert [arm.id for arm in plan.arms] == [
        "sft",
        "im",
        "dmt@dmt.k=0",
        "dmt@dmt.k=1",
        "dmt+im@dmt.k=0",
        "dmt+im@dmt.k=1",
    ]


# --- training and data ---------------------------------------------------------------------------------------------


def test_each_arm_is_compared_with_the_baseline_of_its_training(planned):
    plan = planned("im", sweeps=["train.lr=1e-3,2e-3"])
    assert against(plan) == {
        "sft@train.lr=0.001": None,
        "sft@train.lr=0.002": None,
        "im@train.lr=0.001": "sft@train.lr=0.001",
        "im@train.lr=0.002": "sft@train.lr=0.002",
    }
    rates = {job.label: job.declared["settings"]["lr"] for job in plan.jobs.values() if job.kind == "train"}
    assert rates["im@train.lr=0.002: train all (seed 0)"] == 2e-3


def test_matched_baselines_train_as_their_arms_do(planned):
    """Both arms have one budget, of which the learning rate is no part."""
    plan = planned("dmt", sweeps=["train.lr=1e-4,1e-3"], settings=["match=examples"])
    matched = {
        arm.id: {plan.jobs[stage.key].declared["settings"]["lr"] for stage in arm.seeds[0].stages}
        for arm in plan.arms
        if arm.spec.matched
    }
    assert matched == {
        "sft@train.lr=0.0001~dmt@train.lr=0.0001": {1e-4},
        "sft@train.lr=0.001~dmt@train.lr=0.001": {1e-3},
    }
    assert {arm: baseline for arm, baseline in against(plan).items() if arm.startswith("dmt")} == {
        f"dmt@train.lr={lr}": f"sft@train.lr={lr}~dmt@train.lr={lr}" for lr in ("0.0001", "0.001")
    }
    assert [arm.differs.get("train.lr") for arm in plan.arms if arm.id.startswith("dmt")] == [None, None]


def test_an_arm_that_trains_nothing_is_one_whatever_is_swept_of_training(planned):
    plan = planned("base", sweeps=["train.lr=1e-3,2e-3", "data.general.fraction=1/2,1"], baseline=False)
    assert [arm.id for arm in plan.arms] == ["base"]


def test_adapters_of_several_ranks(planned):
    plan = planned(sweeps=["train.lora.rank=4,8"])
    assert [arm.id for arm in plan.arms] == ["sft@train.lora.rank=4", "sft@train.lora.rank=8"]
    lora = [job.declared["settings"]["lora"] for job in plan.jobs.values() if job.kind == "train"]
    assert [(one["rank"], one["alpha"]) for one in lora] == [(4, 32.0), (8, 32.0)]


def test_shares_of_a_roles_data(planned):
    plan = planned("dmt", sweeps=["data.specialist.fraction=1/4,1"], baseline=False)
    small, whole = plan.arms
    assert (small.id, whole.id) == ("dmt@data.specialist.fraction=1/4", "dmt@data.specialist.fraction=1")
    assert [stage.examples for stage in small.seeds[0].stages] == [375 + 125, 2000 + 46 + 15]
    assert [stage.examples for stage in whole.seeds[0].stages] == [1500 + 500, 2000 + 187 + 62]
    assert small.differs == {}  # without a baseline there is nothing to differ from
    assert set(arm_jobs(plan, whole)) == set(planned("dmt", baseline=False).jobs)
    assert [job.kind for job in plan.jobs.values()].count("prepare") == 1  # all start from one model


def test_a_role_with_other_data(planned):
    other = "data.general=playground:playground_chat,playground:playground_code"
    plan = planned(sweeps=[other], settings=["data.specialist=playground:playground_arithmetic"])
    mixtures = [
        [item["data"]["name"] for item in job.declared["mixture"]] for job in plan.jobs.values() if job.kind == "train"
    ]
    assert mixtures == [["playground_arithmetic", "playground_chat"], ["playground_arithmetic", "playground_code"]]


# --- what is shared ------------------------------------------------------------------------------------------------


def test_a_plan_tells_what_is_shared(planned):
    plan = planned("dmt", sweeps=["dmt.k=0,1/16,1/4"], baseline=False)
    # One model, one first stage; of each arm a second stage, three benchmarks asked and three scored.
    assert len(plan.jobs) == 2 + 3 * 7
    assert [len(arm_jobs(plan, arm)) for arm in plan.arms] == [9, 9, 9]
    assert sharing(plan) == "3 arms, 23 jobs; 2 are shared, and each arm for itself would take 27"
    assert sharing(planned("im")) == "2 arms, 15 jobs; 1 is shared, and each arm for itself would take 16"


def test_six_values_of_k_train_one_first_stage(tmp_path, command):
    sweep = f"dmt.k={','.join(SIX)}"
    board = run_tiny(["dmt"], tmp_path, sweeps=[sweep], settings=["limit=2"])
    assert {line["arm"] for line in board["lines"]} == {"sft", *(f"dmt@dmt.k={k}" for k in SIX)}
    entries = [entry.manifest for entry in Store(tmp_path / "store").entries()]
    trained = [entry for entry in entries if entry["kind"] == "train"]
    stages = Counter(entry["label"].partition(": ")[2] for entry in trained)
    assert stages == {"train all (seed 0)": 1, "train specialist (seed 0)": 1, "train general (seed 0)": 6}
    starts = {entry["parents"]["start"] for entry in trained if "train general" in entry["label"]}
    assert starts == {entry["key"] for entry in trained if "train specialist" in entry["label"]}
    replayed = [
        sum(n["examples"] for name, n in entry["result"]["datasets"].items() if name != "playground_chat")
        for entry in trained
        if "train general" in entry["label"]
    ]
    assert sorted(replayed) == [0, 4, 8, 20, 40, 80]
    places = ("--store", tmp_path / "store", "--out", tmp_path / "run")
    asked = ("--plugins", "dmt", "--sweep", sweep, "--set", "limit=2")
    out, err = command("run", tmp_path / "tiny.yaml", *asked, *places, cwd=tmp_path).communicate(timeout=120)
    assert err == ""
    shown = out.partition("dmt, score against dmt.k\n")[2].splitlines()
    assert shown[0].split() == list(SIX)
    by_arm = {line["arm"]: line["composite"]["score"] for line in board["lines"]}
    assert shown[1].split()[-6:] == [f"{100 * by_arm[f'dmt@dmt.k={k}']:.1f}" for k in SIX]
    assert "composite, against sft" in out


def test_arms_train_on_their_own_data(tmp_path):
    run_tiny([], tmp_path, sweeps=["data.general.fraction=1/4,1"], settings=["limit=1", "data.specialist.fraction=1/8"])
    trained = {
        entry.manifest["label"].partition(":")[0]: entry.manifest["result"]["datasets"]["playground_chat"]["examples"]
        for entry in Store(tmp_path / "store").entries()
        if entry.manifest["kind"] == "train"
    }
    assert trained == {"sft@data.general.fraction=1/4": 10, "sft@data.general.fraction=1": 40}
    rows = [json.loads(row.read_text())["result"] for row in (tmp_path / "run" / "rows").iterdir()]
    assert len({row["recipe_sha256"] for row in rows}) == 1
    assert all({data["role"] for data in row["data"]} == {"general", "specialist"} for row in rows)


# --- recipes -------------------------------------------------------------------------------------------------------


def test_a_recipe_names_its_arms_and_sweeps(planned):
    held = {"arms": ["im", "im,dmt"], "sweep": {"dmt.k": [0, "1/4"], "im:train.lr": 1e-3}}
    arms = ["sft", "im@train.lr=0.001", "dmt+im@dmt.k=0", "dmt+im@dmt.k=1/4"]
    assert [arm.id for arm in planned(**held).arms] == arms
    assert [arm.id for arm in planned(sweeps=["dmt.k=1"], **held).arms] == [*arms[:2], "dmt+im@dmt.k=1"]
    assert [arm.id for arm in planned("neftune", **held).arms] == ["sft", "neftune"]  # its sweeps wait for their arms


def test_what_is_compared_is_no_part_of_the_recipes_identity(planned):
    plain, held = planned("im"), planned(arms=["im"], sweep={})
    assert plain.digest == held.digest
    assert plain.jobs.keys() == held.jobs.keys()


def test_a_recipe_extends_another(tmp_path, refused):
    under, over = tmp_path / "under.yaml", tmp_path / "over.yaml"
    under.write_text("extends: playground\ntrain: {lr: 1.0e-2}\nseeds: [7]\n")
    over.write_text(f"extends: {under}\nname: over\ntrain: {{epochs: 1}}\n")
    recipe = load(str(over))
    assert (recipe.name, recipe.train.lr, recipe.train.epochs, recipe.seeds) == ("over", 1e-2, 1.0, (7,))
    assert recipe.data == load("playground").data
    under.write_text(f"extends: {over}\n")
    assert refused(load, str(over)) == (
        f"{under} cannot extend {over} (name one other recipe: a file, or one that ships)"
    )


def test_a_recipe_is_found_beside_the_one_that_extends_it(tmp_path, monkeypatch, refused):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "over.yaml").write_text("extends: under.yaml\nname: over\n")
    (tmp_path / "sub" / "under.yaml").write_text("extends: ../top.yaml\ntrain: {epochs: 5}\n")
    (tmp_path / "top.yaml").write_text("extends: playground\nseeds: [9]\n")
    (tmp_path / "under.yaml").write_text("extends: playground\ntrain: {epochs: 7}\n")
    for place, name in ((tmp_path, "sub/over.yaml"), (tmp_path / "sub", "over.yaml")):
        monkeypatch.chdir(place)
        recipe = load(name)
        assert (recipe.name, recipe.train.epochs, recipe.seeds) == ("over", 5.0, (9,))
    (tmp_path / "sub" / "here.yaml").write_text("extends: elsewhere.yaml\nname: here\n")
    (tmp_path / "elsewhere.yaml").write_text("extends: playground\nseeds: [3]\n")
    monkeypatch.chdir(tmp_path)
    assert load("sub/here.yaml").seeds == (3,)  # from the working folder
    (tmp_path / "top.yaml").write_text("extends: sub/over.yaml\n")
    assert refused(load, "sub/over.yaml") == (
        "top.yaml cannot extend sub/over.yaml (name one other recipe: a file, or one that ships)"
    )


def test_null_takes_away_what_a_recipe_inherits(tmp_path):
    (tmp_path / "under.yaml").write_text(
        "extends: playground\nname: under\narms: [im]\nsweep: {train.lr: [1.0e-3, 2.0e-3]}\n"
        "train: {lora: {rank: 4}}\noptions: {im: {prompt_weight: 1/2}}\n"
    )
    (tmp_path / "over.yaml").write_text(
        "extends: under.yaml\nname: over\nsweep: null\ntrain: {lora: null}\noptions: {im: null}\n"
    )
    under, over = load(str(tmp_path / "under.yaml")), load(str(tmp_path / "over.yaml"))
    assert under.sweep
    assert under.train.settings().lora
    assert "im" in under.options
    assert (over.sweep, over.train.settings().lora, over.arms) == ({}, None, ("im",))
    assert over.options == load("playground").options


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("dmt.k=7", "dmt.k = 7 will not do: it must be at most 1 (see `harness plugins dmt`)"),
        ("dmt.kk=1", "there is no setting 'dmt.kk' (did you mean 'dmt.k'?)"),
        ("im.variant=own", "im.variant = own will not do: it must be 'paper' or 'released'"),
        ("dmt.k=1/4,0.25", "the sweep of dmt.k names dmt+im@dmt.k=1/4 twice (once is enough)"),
        (
            "neftune.alpha=5",
            ("no arm of this run has neftune.alpha of its own (add the method to an arm: --plugins neftune)"),
        ),
        (
            "im:dmt.k=1",
            (
                "no arm of this run has im:dmt.k of its own (what can be swept: train.<setting>, "
                "data.<role>.fraction, seeds, options of dmt, im)"
            ),
        ),
        ("runtime.workers=1,2", "no arm of this run has runtime.workers of its own"),
        ("train.micro=1", "there is no setting 'train.micro'"),
        ("train.layout=packed", "train.layout is the same for all arms and stages (write --set train.layout=...)"),
        ("data.generall.fraction=1", "data.generall.fraction: the recipe has no data in that role (did you mean"),
        ("data.general.fraction=2", "data.general.0.fraction = 2 will not do"),
        ("dmt.k=", "--sweep dmt.k=: a setting and its values are wanted (write --sweep dmt.k=0,1/256,1/16)"),
        ("dmt.k", "--sweep dmt.k: a setting and its values are wanted"),
        ("dmt.k=[1", "--sweep dmt.k=[1: the values are no YAML (quote those with commas or brackets)"),
        (":dmt.k=1", "--sweep :dmt.k=1: a key and a value are wanted"),
    ],
)
def test_what_cannot_be_swept(planned, refused, sweep, expected):
    assert expected in refused(planned, "im,dmt", sweeps=[sweep])


@pytest.mark.parametrize(
    ("asked", "settings", "said"),
    [
        (("dmt", "dmt.k=0,1", "dmt.k=1/4"), [], "dmt.k of dmt is swept twice (leave one of them away)"),
        (("dmt", "train.lr=1e-3", "dmt:train.lr=1e-4"), [], "train.lr of dmt is swept twice (leave one of them away)"),
        (("dmt:k=1/2", "dmt.k=0,1/4"), [], "dmt.k of dmt is swept, and set for it (leave one of them away)"),
        (("dmt", "train.lr=1e-3,1e-4"), ["dmt:train.lr=1"],
         "train.lr of dmt is swept, and set for it (leave one of them away)"),
        (("dmt", "seeds=0,1", "seeds=2"), [], "seeds are swept twice (write --sweep seeds=0,1,2)"),
        (("dmt", "dmt:seeds=0,1"), [],
         "dmt cannot have seeds of its own: all arms have the same (write --sweep seeds=0,1)"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(planned, refused, asked, settings, said):
    arm, *sweeps = asked
    assert refused(planned, arm, sweeps=sweeps, settings=settings) == said


def test_a_recipe_does_not_sweep_seeds(planned, refused):
    said = "seeds stand beside a recipe's sweep, not in it (write seeds: [0, 1, 2])"
    for key in ("seeds", "im:seeds"):
        assert refused(planned, "im", sweep={key: [0, 1, 2]}) == said


def test_a_recipes_sweep_needs_an_arm(planned, refused):
    assert "no arm of this run has dmt.k of its own" in refused(planned, arms=["im"], sweep={"dmt.k": [0, 1]})
    assert "the sweep of dmt.k has no values" in refused(planned, arms=["dmt"], sweep={"dmt.k": []})


def test_a_value_may_be_a_list():
    sweep = Sweep.parse("dmt+im:train.betas=[0.9, 0.95],[0.9, 0.999]")
    assert (sweep.key, sweep.values) == ("dmt+im:train.betas", ([0.9, 0.95], [0.9, 0.999]))
