"""Plans: what shares work, what changes a key and what must not, and how the baseline gets an arm's budget."""

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from harness.api import DataInfo
from harness.data.mixtures import materialise
from harness.data.resolve import Places
from harness.discovery import LoadedPlugin
from harness.errors import UserError
from harness.execution import Execution
from harness.jobs import MixtureItem, TrainSettings
from harness.mergers import mergekit_version
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.settings import Setting

GOLDEN = Path(__file__).with_name("golden_keys.json")

BENCH = '''
"""A benchmark with a task of its own."""
from pathlib import Path
from harness.api import Evaluator, LmEvalTask, Plugin, hookimpl
PLUGIN = Plugin(name="bench", version="1.0")

@hookimpl
def evaluator(arm):
    task = LmEvalTask("bench_task", "exact_match", include=str(Path(__file__).parent / "bench_tasks"))
    return [Evaluator("bench", "strict-1", task)]
'''

RECIPE = """
name: synthetic
model:
  init: {vocab_size: 300, config: {hidden_size: 32, num_hidden_layers: 1}}
  chat_template: chatml
data:
  general: {folder}/chats.jsonl
  specialist: [{folder}/maths.jsonl, {source: {folder}/code.jsonl, fraction: 1/2}]
train: {lr: 1.0e-3, epochs: 2, batch_size: 4}
benchmarks: [bench]
engine: {name: hf}
"""

SIZES = {"chats": 12, "maths": 8, "code": 6}


def write_data(folder):
    folder.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        rows = [{"prompt": f"{name} question {n}", "completion": f"answer {n}"} for n in range(size)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def synthetic(tmp_path, distribution, monkeypatch):
    """A recipe that depends on nothing but this file: own data, own task, and stamps without source digests."""
    site = distribution("synth", {"bench": BENCH})
    (site / "bench_tasks").mkdir()
    (site / "bench_tasks" / "bench.yaml").write_text("task: bench_task\noutput_type: generate_until\n")
    write_data(tmp_path / "data")
    (tmp_path / "synthetic.yaml").write_text(RECIPE.replace("{folder}", str(tmp_path / "data")))
    monkeypatch.setattr(LoadedPlugin, "stamp", lambda self: f"{self.plugin.name} {self.plugin.version}")
    return tmp_path


@pytest.fixture
def plan(synthetic):
    def make(*arms, settings=(), recipe=None, baseline=True, factorial=False, places=None):
        parsed = [Setting.parse(text) for text in settings]
        resolved = load(str(recipe or synthetic / "synthetic.yaml"), parsed, arms)
        chosen = choose_arms(resolved, arms, parsed, baseline=baseline, factorial=factorial)
        return build(resolved, chosen, places or Places(None, synthetic / "cache"))

    return make


@pytest.fixture
def own(synthetic):
    """Writes a plug-in file; returns its path."""

    def write(body, name="own"):
        path = synthetic / f"{name}.py"
        head = "from fractions import Fraction\nfrom harness.api import *\nPLUGIN = Plugin(name='{}', version='1.0')\n"
        path.write_text(head.format(name) + body)
        return str(path)

    return write


def labels(plan):
    return {job.label: key for key, job in plan.jobs.items()}


def stages(plan, arm):
    return {stage.name: stage for a in plan.arms if a.id == arm for stage in a.seeds[0].stages}


# --- keys ----------------------------------------------------------------------------------------------------------


def test_golden_keys(plan):
    """Every key, written down: whoever changes one does it on purpose, or finds out here.

    A key that changes makes everybody do that work again, and rows of before and after are no longer equal. Where that
    is meant: run this test with HARNESS_GOLDEN=write, look at the difference, say why in the changelog.
    """
    found = labels(plan("base", "im,dmt", "multi_task", "sequential", factorial=True, settings=["seeds=[0, 1]"]))
    if os.environ.get("HARNESS_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


RIDDLES = """
class OwnOptions(Options):
    \"\"\"Own.\"\"\"
    column: str = "prompt"
    \"\"\"Where the riddle is.\"\"\"
PLUGIN = Plugin(name="own", version="1.0", options=OwnOptions)
@hookimpl
def data_source(arm):
    columns = PairColumns(arm.options(OwnOptions).column, "completion")
    return {name: DataSource(Files((f"FOLDER/{name}.jsonl",)), columns) for name in NAMES}
"""


@pytest.mark.parametrize(("names", "written"), [(["chats"], ""), (["chats", "maths"], ":chats")])
def test_data_of_a_plugin_from_a_file(plan, own, synthetic, names, written):
    path = own(RIDDLES.replace("FOLDER", str(synthetic / "data")).replace("NAMES", repr(names)))
    planned = plan("im", settings=[f"data.general={path}{written}", "own.column=prompt"])
    assert planned.data["chats"].info() == DataInfo("chats", "general", SIZES["chats"])
    assert planned.data["chats"].item.data.plugin == "own 1.0"


def test_which_data_of_a_file_must_be_clear(plan, own, synthetic, refused):
    path = own(RIDDLES.replace("FOLDER", str(synthetic / "data")).replace("NAMES", "['chats', 'maths']"))
    assert refused(plan, settings=[f"data.general={path}"]) == (
        "the plug-in 'own' offers 2 datasets, and the recipe names none of them "
        f"(there are: {path}:chats, {path}:maths)"
    )
    gone = synthetic / "gone.py"
    assert refused(plan, settings=[f"data.general={gone}:x"]) == (
        f"there is no plug-in file {gone} (give the path of a .py file, or an installed plug-in's name)"
    )


def test_jobs_stand_after_their_parents(plan):
    planned = plan("im,dmt", factorial=True)
    seen = set()
    for key, job in planned.jobs.items():
        assert key == job.key
        assert seen.issuperset(job.parents.values())
        seen.add(key)


def test_a_plan_is_plain_data_that_repeats(plan):
    one, other = plan("im,dmt"), plan("im,dmt")
    assert json.loads(json.dumps(one.to_json())) == other.to_json()
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "setting",
    [
        "runtime.workers=2",
        "runtime.threads=7",
        "runtime.micro_tokens=64",
        "runtime.checkpoint_seconds=1",
        "runtime.gpu_memory_utilization=0.5",
        "runtime.batch_size=1",
        "name=another",
        "options.im.variant=released",  # no arm of this plan uses it
    ],
)
def test_how_the_work_is_done_changes_no_key(plan, setting):
    assert plan("dmt", settings=[setting]).jobs.keys() == plan("dmt").jobs.keys()


def test_where_things_lie_changes_no_key(plan, synthetic, monkeypatch):
    before = plan("im,dmt").jobs.keys()
    elsewhere = Places(synthetic / "no-mirror", synthetic / "other-cache")
    assert plan("im,dmt", places=elsewhere).jobs.keys() == before
    shutil.move(synthetic / "data", synthetic / "moved")
    text = RECIPE.replace("{folder}", "moved")
    (synthetic / "relative.yaml").write_text(text)
    monkeypatch.chdir(synthetic)
    assert plan("im,dmt", recipe="relative.yaml").jobs.keys() == before


def test_the_order_of_plugins_changes_no_key(plan):
    assert plan("im,dmt").jobs.keys() == plan("dmt,im").jobs.keys()
    assert plan("im", "dmt").jobs.keys() == plan("dmt", "im").jobs.keys()


OTHER = {
    "lr": 2e-3,
    "schedule": "cosine",
    "warmup": 0.5,
    "epochs": 3,
    "batch_size": 8,
    "max_length": 64,
    "weight_decay": 0.1,
    "betas": [0.9, 0.95],
    "eps": 1e-7,
    "clip": 0.5,
    "loss_reduction": "example",
    "end_of_turn": False,
    "dtype": "bfloat16",
    "lora": {"rank": 4},
    "early_stopping": {"patience": 1},
}


def test_every_training_setting_is_tried_below():
    assert OTHER.keys() == TrainSettings.model_fields.keys()


def kinds_that_differ(one, other):
    """Kinds of jobs that the other plan does not share."""
    return {job.kind for key, job in one.jobs.items() if key not in other.jobs}


@pytest.mark.parametrize(("name", "value"), OTHER.items())
def test_every_training_setting_changes_training(plan, name, value):
    changed = plan("dmt", settings=[f"train.{name}={json.dumps(value)}"])
    assert kinds_that_differ(plan("dmt"), changed) == {"train", "respond", "evaluate"}
    assert not {key for key, job in changed.jobs.items() if job.kind == "train"} & plan("dmt").jobs.keys()


EXECUTIONS = [
    ["train.launcher=torchrun", "train.processes=2", "train.nodes=2", "train.rendezvous=head:29500"],
    ["train.launcher=deepspeed", "train.hostfile=hosts", "train.deepspeed=zero3"],
    ["train.layout=padded", "train.gradient_checkpointing=true", "train.compile=true", "train.liger=true"],
    ["train.tracking=none", "train.peak_tflops=989"],
]


@pytest.mark.parametrize("settings", EXECUTIONS)
def test_how_training_is_executed_enters_no_key(plan, settings):
    assert plan("dmt", settings=settings).digest == plan("dmt").digest


def test_every_setting_of_execution_is_tried_above():
    tried = {setting.partition("=")[0].removeprefix("train.") for settings in EXECUTIONS for setting in settings}
    assert tried == Execution.model_fields.keys()


@pytest.mark.parametrize(
    ("setting", "kinds"),
    [
        ("seeds=[1]", {"prepare", "train", "respond", "evaluate"}),
        ("model.init.config.hidden_size=64", {"prepare", "train", "respond", "evaluate"}),
        ("model.init.vocab_size=301", {"prepare", "train", "respond", "evaluate"}),
        ("model.chat_template=tulu", {"prepare", "train", "respond", "evaluate"}),
        ("engine.name=vllm", {"respond", "evaluate"}),
        ("engine.dtype=bfloat16", {"respond", "evaluate"}),
        ("engine.max_length=64", {"respond", "evaluate"}),
        ("limit=3", {"respond", "evaluate"}),
        ("dmt.k=1/2", {"train", "respond", "evaluate"}),
        ("dmt:train.lr=1", {"train", "respond", "evaluate"}),
    ],
)
def test_what_changes_which_jobs(plan, setting, kinds):
    assert kinds_that_differ(plan("dmt"), plan("dmt", settings=[setting])) == kinds


def test_options_of_the_loss_change_training(plan):
    assert kinds_that_differ(plan("im"), plan("im", settings=["im.prompt_weight=1/2"])) == {
        "train",
        "respond",
        "evaluate",
    }


def test_the_datas_content_changes_keys(plan, synthetic):
    before = plan("dmt")
    path = synthetic / "data" / "maths.jsonl"
    path.write_text(path.read_text().replace("answer 7", "answer seven"))
    assert not before.jobs.keys() & plan("dmt").jobs.keys()


def test_the_tasks_yaml_changes_its_evaluations(plan, synthetic):
    before = plan("dmt")
    (synthetic / "site-synth" / "bench_tasks" / "bench.yaml").write_text("task: bench_task\nnum_fewshot: 1\n")
    assert kinds_that_differ(before, plan("dmt")) == {"respond", "evaluate"}


def test_a_models_folder_is_its_content(plan, synthetic):
    for name in ("one", "two"):
        (synthetic / name).mkdir()
        (synthetic / name / "config.json").write_text("{}")
    one = plan("im", settings=[f"model={{id: {synthetic / 'one'}}}"])
    assert plan("im", settings=[f"model={{id: {synthetic / 'two'}}}"]).jobs.keys() == one.jobs.keys()
    (synthetic / "two" / "config.json").write_text('{"a": 1}')
    assert not plan("im", settings=[f"model={{id: {synthetic / 'two'}}}"]).jobs.keys() & one.jobs.keys()


def test_a_models_revision_changes_keys(plan):
    one, other = (plan("im", settings=[f"model=org/name@{revision}"]) for revision in ("a", "b"))
    assert not one.jobs.keys() & other.jobs.keys()


def test_a_plugins_version_changes_only_what_it_takes_part_in(plan, monkeypatch):
    def newer(self):
        return f"{self.plugin.name} {'2.0' if self.plugin.name == 'im' else self.plugin.version}"

    before = plan("im", "dmt")
    monkeypatch.setattr(LoadedPlugin, "stamp", newer)
    changed = [job.label for key, job in before.jobs.items() if key not in plan("im", "dmt").jobs]
    assert changed == ["im: train all (seed 0)", "im: ask bench (seed 0)", "im: evaluate bench (seed 0)"]


# --- shared work ---------------------------------------------------------------------------------------------------


def test_a_sweep_over_k_trains_the_first_stage_once(plan):
    planned = plan("dmt:k=1/2", "dmt:k=1/4", "dmt:k=0")
    firsts = {stages(planned, arm.id)["specialist"].key for arm in planned.arms[1:]}
    seconds = {stages(planned, arm.id)["general"].key for arm in planned.arms[1:]}
    assert (len(firsts), len(seconds)) == (1, 3)


def test_dmt_without_replay_is_the_mixed_sequential_strategy(plan):
    planned = plan("dmt:k=0", "mixed_sequential")
    assert planned.arms[1].seeds[0].model == planned.arms[2].seeds[0].model


def test_the_baseline_is_shared(plan):
    assert plan().jobs.keys() < plan("im,dmt").jobs.keys()


def test_sft_and_im_share_the_model_alone(plan):
    planned = plan("im")
    by_arm = {arm.id: {arm.seeds[0].model, *arm.seeds[0].evaluations.values()} for arm in planned.arms}
    assert not by_arm["sft"] & by_arm["im"]
    assert [job.kind for job in planned.jobs.values()].count("prepare") == 1


def test_multi_task_on_all_roles_is_the_baseline(plan):
    planned = plan("multi_task")
    assert planned.arms[0].seeds == planned.arms[1].seeds


def test_base_trains_nothing(plan):
    arm = plan("base").arms[1]
    assert arm.seeds[0].stages == ()
    assert arm.differs["stages"] == []


def test_every_seed_has_its_own_model_unless_it_is_given(plan):
    made = plan("base", settings=["seeds=[0, 1, 2]"])
    assert [seed.seed for seed in made.arms[1].seeds] == [0, 1, 2]
    given = plan("base", settings=["seeds=[0, 1, 2]", "model=org/name@a"])
    for arm in given.arms:
        assert [seed.seed for seed in arm.seeds] == [0, 1, 2]
    assert len({seed.model for seed in given.arms[1].seeds}) == 1
    assert len({key for seed in given.arms[1].seeds for key in seed.evaluations.values()}) == 1


# --- counts --------------------------------------------------------------------------------------------------------

BIG = """
from harness.api import DataSource, Example, Generated, Message, Plugin, hookimpl
PLUGIN = Plugin(name="big", version="1.0")
SIZES = {"maths": 110_142, "code": 20_022, "chats": 1_000}

def make(name, n):
    for index in range(n):
        yield Example(f"{name}-{index}", (Message("user", f"{index}?"), Message("assistant", f"{index}!")))

@hookimpl
def data_source(arm):
    return {
        name: DataSource(Generated(lambda name=name, n=n: make(name, n), n=n, recipe={"name": name, "n": n}))
        for name, n in SIZES.items()
    }
"""


def test_dmts_replay_is_what_the_definition_says(plan, distribution):
    """k = 1/256 of 110,142 and 20,022 examples: 430 and 78, in the plan and in the mixture that is trained on."""
    distribution("bigdata", {"big": BIG})
    data = "data={general: 'big:chats', specialist: ['big:maths', 'big:code']}"
    planned = plan("dmt", settings=[data, "dmt.k=1/256"])
    trained = stages(planned, "dmt")
    assert trained["specialist"].examples == 110_142 + 20_022
    assert trained["general"].examples == 1_000 + 430 + 78
    items = [MixtureItem.model_validate(item) for item in planned.jobs[trained["general"].key].declared["mixture"]]
    sources = {name: dataset.source for name, dataset in planned.data.items()}
    names = [name for name, _ in materialise(items, sources, data_root=None).examples]
    assert {name: names.count(name) for name in ("chats", "maths", "code")} == {"chats": 1000, "maths": 430, "code": 78}


def test_counts_multiply(plan):
    planned = plan("dmt", settings=["dmt.k=1/4"])
    # code: half of 6 by the recipe, then a quarter of those 3, which is at least one
    assert stages(planned, "dmt")["specialist"].examples == 8 + 3
    assert stages(planned, "dmt")["general"].examples == 12 + 2 + 1


def test_unknown_sizes_stay_unknown(plan):
    planned = plan("dmt", settings=["data.general=org/absent"])
    assert stages(planned, "dmt")["general"].examples is None
    assert stages(planned, "dmt")["specialist"].examples == 11


# --- budgets -------------------------------------------------------------------------------------------------------


def test_without_matching_there_is_one_baseline(plan):
    assert [(arm.id, arm.baseline) for arm in plan("dmt", "im,dmt").arms] == [
        ("sft", None),
        ("dmt", "sft"),
        ("dmt+im", "sft"),
    ]


@pytest.mark.parametrize("unit", ["examples", "tokens", "steps"])
def test_matching_adds_a_baseline_with_the_arms_budget(plan, unit):
    planned = plan("im", "dmt", "im,dmt", settings=[f"match={unit}"])
    assert [(arm.id, arm.baseline) for arm in planned.arms] == [
        ("sft", None),
        ("im", "sft"),
        ("dmt", "sft~dmt"),
        ("dmt+im", "sft~dmt"),
        ("sft~dmt", None),
    ]
    declared = planned.jobs[stages(planned, "sft~dmt")["all"].key].declared
    assert declared["budget"]["unit"] == unit
    assert [len(stage["mixture"]) for stage in declared["budget"]["stages"]] == [2, 3]
    assert all(job.declared["budget"] is None for job in planned.jobs.values()
               if job.kind == "train" and "sft~" not in job.label)  # fmt: skip


def test_equal_counts_need_no_other_baseline(plan):
    planned = plan("multi_task", "sequential", settings=["match=examples"])
    assert {arm.baseline for arm in planned.arms[1:]} == {"sft"}
    by_steps = plan("sequential", settings=["match=steps"])
    assert by_steps.arms[1].baseline == "sft~sequential"


def test_arms_that_train_nothing_or_stand_alone_have_plain_baselines(plan):
    assert plan("base", settings=["match=steps"]).arms[1].baseline == "sft"
    assert plan("im", baseline=False, settings=["match=steps"]).arms[0].baseline is None


def test_an_arms_own_epochs_count_in_its_budget(plan):
    planned = plan("im", settings=["match=examples", "im:train.epochs=4"])
    assert planned.arms[1].baseline == "sft~im@train.epochs=4.0"


def test_the_baselines_own_settings_leave_it_the_baseline(plan):
    planned = plan("im", settings=["sft:train.lr=1e-2"])
    assert [(arm.id, arm.baseline) for arm in planned.arms] == [
        ("sft@train.lr=0.01", None),
        ("im", "sft@train.lr=0.01"),
    ]
    assert planned.arms[1].differs["train.lr"] is None


# --- what differs --------------------------------------------------------------------------------------------------


def test_everything_in_which_an_arm_differs_is_listed(plan, own):
    strategy = own(
        "@hookimpl\ndef strategy(arm, data):\n    return [Stage('all', Mixture.of(*data), train={'warmup': 0.5})]\n"
    )
    differs = [arm.differs for arm in plan("im:prompt_weight=1/2", "dmt", strategy).arms]
    assert differs[0] == {}
    assert differs[1] == {"im.prompt_weight": "1/2", "im.variant": "paper", "loss": ["im"]}
    assert differs[2] == {"dmt.k": "1/256", "examples seen": 50, "stages": ["specialist", "general"]}
    assert differs[3] == {"all.warmup": 0.5}


# --- mergers -------------------------------------------------------------------------------------------------------

EXPERTS = """
@hookimpl
def strategy(arm, data):
    return [Stage(name, Mixture.of(name), start="base") for name in data]
"""


def merging(value):
    return f"{EXPERTS}\n@hookimpl\ndef merger(arm, stages):\n    return {value}\n"


def test_several_experts_need_a_merger(plan, own, refused):
    assert refused(plan, own(EXPERTS)) == (
        "own ends with 3 experts (chats, maths, code) and nothing merges them (add a plug-in that provides merger)"
    )


def test_an_average_is_a_job(plan, own):
    planned = plan(own(merging("Average(tuple(s.name for s in stages))")))
    arm = planned.arms[1].seeds[0]
    job = planned.jobs[arm.merge]
    assert arm.model == arm.merge
    assert job.declared == {"method": "average", "weights": [["chats", "1/3"], ["maths", "1/3"], ["code", "1/3"]]}
    assert job.parents == {stage.name: stage.key for stage in arm.stages}
    base = next(key for key, job in planned.jobs.items() if job.kind == "prepare")
    assert {planned.jobs[stage.key].parents["start"] for stage in arm.stages} == {base}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Average(('chats', 'math'))", "own merges ['math'] (there are: chats, code, maths)"),
        ("Average(())", "own merges nothing (there are: chats, code, maths)"),
        (
            "Average(('chats', 'maths'), (Fraction(1),))",
            "own merges 2 stages with 1 weights (give one weight for each stage)",
        ),
        (
            "Average(('chats', 'maths'), (Fraction(1), Fraction(1, 2)))",
            "own averages with weights that add up to 3/2 (divide them by their sum, as harness.api.proportions does)",
        ),
        ("Merger()", "own merges by Merger, which no job does (return an Average)"),
    ],
)
def test_mergers_that_cannot_be(plan, own, refused, value, expected):
    assert refused(plan, own(merging(value))) == expected


def test_a_plugin_merges_in_the_strategy_s_place(plan, own):
    strategy = own(
        f"{EXPERTS}\n@hookimpl(trylast=True)\ndef merger(arm, stages):\n    return Average(('chats', 'maths'))\n"
    )
    planned = plan(strategy, f"{strategy},ties:density=1/2", f"{strategy},mergekit:method=della")
    average, ties, kit = (planned.jobs[arm.seeds[0].merge] for arm in planned.arms[1:])
    base = next(key for key, job in planned.jobs.items() if job.kind == "prepare")
    assert [name for name, _ in average.declared["weights"]] == ["chats", "maths"]
    assert "base" not in average.parents
    assert ties.declared["method"] == "ties"
    assert ties.declared["options"] == {"class": "Ties", "density": "1/2", "scale": "1/1", "trim": "model"}
    assert [maker.split()[:2] for maker in ties.declared["plugins"]] == [["ties", "1.0"]]
    assert ties.declared["weights"] == [["chats", "1/3"], ["maths", "1/3"], ["code", "1/3"]]
    assert "seed" not in ties.declared
    assert kit.declared["options"] == {"method": "della", "parameters": {}, "mergekit": mergekit_version()}
    assert kit.declared["seed"] == 0
    assert ties.parents["base"] == kit.parents["base"] == base


def test_mergekit_s_version_is_part_of_what_it_merges(plan, own, distribution):
    arm = f"{own(EXPERTS)},mergekit"
    before = plan(arm).arms[1].seeds[0].merge
    distribution("mergekit", {})
    planned = plan(arm)
    after = planned.arms[1].seeds[0].merge
    assert planned.jobs[after].declared["options"]["mergekit"] == "1.0"
    assert after != before


def test_another_seed_draws_another_merge_only_where_it_draws(plan, own):
    planned = plan(f"{own(EXPERTS)},dare", settings=["seeds=[3]"])
    assert planned.jobs[planned.arms[1].seeds[0].merge].declared["seed"] == 3


@pytest.mark.parametrize(
    ("start", "settings", "expected"),
    [
        (
            "base",
            [],
            (
                "own merges the adapters of stage 'chats', which trains all weights "
                "(--set train.lora={}, or merge whole weights)"
            ),
        ),
        (
            "previous",
            ["train.lora.rank=2"],
            (
                "own merges adapters, and those of stage 'maths' were not put on the base "
                "(start it from base, or merge whole weights)"
            ),
        ),
    ],
)
def test_adapters_that_cannot_be_merged_apart(plan, own, start, settings, expected):
    stages = EXPERTS.replace('start="base"', f"start={start!r}")
    merger = "@hookimpl\ndef merger(arm, stages):\n    return Average(('chats', 'maths'), adapters='apart')\n"
    with pytest.raises(UserError) as caught:
        plan(own(stages + merger), settings=settings)
    assert str(caught.value) == expected


# --- other refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("Stage('all', Mixture.of())", "stage 'all' of own trains on no data (its mixture must name a dataset)"),
        (
            "Stage('all', Mixture.of('math'))",
            "stage 'all' of own asks for the dataset 'math' (did you mean 'maths'?)",
        ),
        (
            "Stage('all', Mixture.of('maths'), train={'lrr': 1})",
            "stage 'all' of own: there is no setting 'train.lrr' (did you mean 'train.lr'?)",
        ),
        (
            "Stage('all', Mixture.of(Derived('maths', 'shuffle', amount=3)))",
            "maths: no operation on data is called 'shuffle' (there are: sample, rest)",
        ),
        (
            "Stage('all', Mixture.of(sample('maths', amount=9)))",
            "9 examples of maths are wanted, and there are 8 (ask for at most 8)",
        ),
        (
            "Stage('all', Mixture.of(sample('maths')))",
            "sample('maths') needs a fraction or an amount (give exactly one of them)",
        ),
    ],
)
def test_stages_that_cannot_be(plan, own, refused, stage, expected):
    assert refused(plan, own(f"@hookimpl\ndef strategy(arm, data):\n    return [{stage}]\n")) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["benchmarks=[im]"], "the plug-in 'im' offers no benchmark (take it out of the benchmarks)"),
        (["benchmarks=[bnch]"], "no benchmark is called 'bnch' (did you mean 'bench'?)"),
        (
            ["data.general=gsm8k:train"],
            "the plug-in 'gsm8k' offers no dataset 'train' (there are: gsm8k:gsm8k)",
        ),
        (
            ["data.general=im"],
            "the plug-in 'im' offers no dataset (harness data list shows those that do)",
        ),
        (
            ["data.general=maths.jsonl"],
            "there is no file maths.jsonl (check the path; it is relative to where the command runs)",
        ),
        (["model={init: null}"], "the recipe's model has neither an id nor init (write --set model=ORG/NAME)"),
        (
            ["data={chats: gsm8k}"],
            ("the strategy needs data in the role 'specialist', and the recipe gives it to none "
            "(add `data: {specialist: [...]}` to the recipe, or --set data.specialist=SOURCE)"),
        ),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be(plan, refused, settings, expected):
    assert refused(plan, "dmt", settings=settings) == expected


def test_models_and_configurations_that_are_not_there(plan, synthetic, refused):
    (synthetic / "empty").mkdir()
    launched = ("train.launcher=torchrun", "train.processes=2")
    for settings, expected in {
        ("model=./nowhere",): "there is no model folder ./nowhere (give a folder with config.json, or a hub id)",
        (f"model={synthetic / 'empty'}",): (
            f"{synthetic / 'empty'} holds no model: config.json is missing (give a folder that save_pretrained wrote)"
        ),
        (*launched, "train.deepspeed=zero9"): (
            "there is no DeepSpeed configuration 'zero9': No such file or directory "
            "(use zero0, zero1, zero2, zero3, zero3_offload or the path of a JSON file)"
        ),
    }.items():
        assert refused(plan, "im", settings=settings) == expected
    assert plan("im", settings=["model=org/name"]).jobs


def test_two_datasets_of_one_name(plan, synthetic, refused):
    (synthetic / "again").mkdir()
    shutil.copy(synthetic / "data" / "maths.jsonl", synthetic / "again" / "chats.jsonl")
    setting = f"data.specialist=[{synthetic / 'again' / 'chats.jsonl'}]"
    assert refused(plan, settings=[setting]) == (
        "two datasets of the recipe are called 'chats' (give one of them a `name`)"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [("org/chats.v2@abc", "chats.v2"), ("org/chats:a.jsonl", "chats"), ("me@home/maths.jsonl", "maths")],
)
def test_a_source_is_called_by_its_own_name(plan, synthetic, monkeypatch, source, name):
    (synthetic / "me@home").mkdir(exist_ok=True)
    shutil.copy(synthetic / "data" / "maths.jsonl", synthetic / "me@home" / "maths.jsonl")
    monkeypatch.chdir(synthetic)
    assert list(plan(settings=[f"data={{general: [{{source: '{source}'}}]}}"]).data) == [name]


def test_an_unmatched_share_is_exact(plan):
    planned = plan("dmt", settings=["dmt.k=1/3"])
    declared = planned.jobs[stages(planned, "dmt")["general"].key].declared
    assert [op["fraction"] for item in declared["mixture"] for op in item["ops"]] == ["1/3", "1/2", "1/3"]
    assert all(Fraction(op["fraction"]) for item in declared["mixture"] for op in item["ops"])


DISTIL = """
@hookimpl
def strategy(arm, data):
    answers = sample(Answered("chats", model="MODEL", temperature=0.7, samples=2), amount=5)
    return [Stage("taught", Mixture.of("maths")), Stage("own", Mixture.of(answers, "code"), start="base")]
"""


def test_a_models_answers_are_a_job_between_two_stages(plan, own):
    planned = plan(own(DISTIL.replace("MODEL", "taught")), baseline=False)
    taught, student = planned.arms[0].seeds[0].stages
    role, key = next((role, key) for role, key in planned.jobs[student.key].parents.items() if role.startswith("data:"))
    job = planned.jobs[key]
    assert role == "data:chats answered by taught"
    assert job.kind == "generate"
    assert job.parents == {"model": taught.key}
    assert job.declared["samples"] == 2
    assert student.examples is None
    keys = list(planned.jobs)
    assert keys.index(taught.key) < keys.index(key) < keys.index(student.key)


def test_answers_of_no_model_are_refused(plan, own):
    with pytest.raises(UserError, match=r"stage 'own' of own wants answers of 'tought' \(did you mean 'taught'\?\)"):
        plan(own(DISTIL.replace("MODEL", "tought")), baseline=False)


def test_two_sets_of_answers_of_one_name_are_refused(plan, own):
    """A job finds made data by its name: of two, one would be read for both."""
    body = DISTIL.replace("MODEL", "taught").replace("Mixture.of(answers, ", "Mixture.of(answers, warm, ")
    body = body.replace(
        "    return", "    warm = Answered('chats', model='taught', temperature=0.9, samples=2)\n    return"
    )
    with pytest.raises(UserError, match="one mixture holds two different sets called 'chats answered by taught'"):
        plan(own(body), baseline=False)


@pytest.mark.parametrize("settings", [["dmt:train.early_stopping={}"], ["sft:train.early_stopping={}"]])
def test_a_stage_that_may_stop_early_cannot_be_matched(plan, settings):
    assert plan("dmt", settings=settings)
    with pytest.raises(UserError, match="match: examples wants so much training and no less, and stage '"):
        plan("dmt", settings=[*settings, "match=examples"])


def test_a_budget_of_answers_cannot_be_matched(plan, own):
    with pytest.raises(UserError, match="match: examples cannot count what stage 'own' of own generates"):
        plan(own(DISTIL.replace("MODEL", "taught")), settings=["match=examples"])


# --- a model that is pretrained ------------------------------------------------------------------------------------

TEXT = "data.pretraining=[{source: FOLDER/web.jsonl, columns: {kind: text}}]"


@pytest.fixture
def pretrained(plan, synthetic):
    """Plans with `model.init.pretrain`, and text to do it on."""
    rows = [{"text": f"Page {n}."} for n in range(9)]
    (synthetic / "data" / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = TEXT.replace("FOLDER", str(synthetic / "data"))

    def make(*arms, settings=(), **how):
        return plan(*arms, settings=["model.init.pretrain={epochs: 4, lr: 0.01}", text, *settings], **how)

    return make


def test_a_model_is_pretrained_once_for_all_arms(pretrained):
    planned = pretrained("base", "dmt")
    (key,) = [key for key, job in planned.jobs.items() if job.label == "pretrain the model (seed 0)"]
    declared = planned.jobs[key].declared
    assert [item["data"]["name"] for item in declared["mixture"]] == ["web"]
    assert (declared["settings"]["epochs"], declared["settings"]["lr"], declared["settings"]["batch_size"]) == (
        4,
        0.01,
        4,
    )
    starts = {name: planned.jobs[stage.key].parents["start"] for name, stage in stages(planned, "dmt").items()}
    assert starts["specialist"] == key
    assert planned.jobs[stages(planned, "sft")["all"].key].parents["start"] == key
    assert next(arm for arm in planned.arms if arm.id == "base").seeds[0].model == key


def test_no_arm_trains_on_the_text_itself(pretrained):
    declared = [job.declared for job in pretrained("im").jobs.values() if job.kind == "train"]
    assert sum("web" in [item["data"]["name"] for item in of["mixture"]] for of in declared) == 1


def test_each_seed_is_pretrained_for_itself(pretrained):
    labels_ = [job.label for job in pretrained(settings=["seeds=[0, 1]"]).jobs.values()]
    assert [label for label in labels_ if "pretrain" in label] == [f"pretrain the model (seed {n})" for n in (0, 1)]


def test_what_cannot_pretrain_is_refused(plan, pretrained):
    with pytest.raises(UserError, match="data in the role 'pretraining', and the recipe gives it to none"):
        plan(settings=["model.init.pretrain={}"])
    with pytest.raises(UserError, match="epoch"):
        pretrained(settings=["model.init.pretrain={epoch: 4}"])
