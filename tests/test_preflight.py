"""Everything that is wrong is told at once, before anything starts, and without torch."""

import json
import sys

import pytest

from harness import inventory, preflight
from harness.data.resolve import Places
from harness.estimate.plan import estimate
from harness.execution import Execution
from harness.inventory import Gpu
from harness.jobs import TrainSettings
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.settings import Setting
from harness.store import Store

H100 = Gpu("NVIDIA H100 80GB HBM3", 80 * 2**30)


@pytest.fixture
def found(tmp_path):
    """The problems of a playground run, by what is set: `found("train.liger=true", arms=["kl"])`."""

    nowhere = Places(None, tmp_path / "cache")

    def look(*settings, arms=(), places=nowhere, here=True):
        parsed = [Setting.parse(text) for text in ("seeds=[0]", *settings)]
        recipe = load("playground", parsed, arms)
        plan = build(recipe, choose_arms(recipe, arms, parsed, baseline=True, factorial=False), places)
        store = Store(tmp_path / "store")
        return [str(problem) for problem in preflight.problems(plan, store, estimate(plan, store, places), here=here)]

    return look


@pytest.fixture
def absent(monkeypatch):
    """Lets modules be found no more: `absent("deepspeed")`."""
    real = preflight.find_spec

    def hide(*names):
        monkeypatch.setattr(preflight, "find_spec", lambda name: None if name in names else real(name))

    return hide


LAUNCHED = ("train.launcher=torchrun", "train.processes=2")


def test_nothing_is_said_where_all_is_well(found):
    assert found() == []
    assert found(*LAUNCHED, "train.deepspeed=zero2") == []


def test_all_that_is_missing_is_told_at_once(found, absent, monkeypatch, tmp_path):
    absent("deepspeed", "peft", "bitsandbytes", "liger_kernel", "wandb")
    monkeypatch.setattr(preflight, "compiler", lambda: None)
    monkeypatch.setattr(preflight, "ninja", lambda: None)
    config = tmp_path / "mine.json"
    config.write_text(json.dumps({"optimizer": {}, "zero_optimization": {"stage": 3}}))
    settings = ("train.lora.quantize=nf4", "train.liger=true", "train.tracking=wandb", "train.compile=true")
    said = found(*LAUNCHED, f"train.deepspeed={config}", *settings)
    replaced = "the recipe's AdamW would be replaced by it (take it out; train.* of the recipe says this)"
    assert said == [
        "train.liger needs a GPU, for which its kernels are compiled (--set train.liger=false)",
        f"train.deepspeed={config} needs deepspeed (pip install 'instruct-harness[deepspeed]')",
        f"{config} holds a section 'optimizer': {replaced}",
        f"{config}: ZeRO-3 without stage3_gather_16bit_weights_on_model_save saves no weights (set it to true)",
        "train.lora needs peft (pip install 'instruct-harness[lora]')",
        "train.lora.quantize needs bitsandbytes (pip install 'instruct-harness[lora]')",
        "train.liger needs liger_kernel (pip install 'instruct-harness[liger]')",
        "train.tracking=wandb needs wandb (pip install 'instruct-harness[tracking]')",
        "DeepSpeed on CPU needs a C++ compiler, and there is no g++ (apt-get install g++)",
        "DeepSpeed on CPU needs ninja (pip install ninja)",
    ]


def test_settings_that_do_not_go_together(found, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}}))
    asked = ("train.lora.quantize=nf4", "train.compile=true")
    assert found(*LAUNCHED, "train.deepspeed=zero2", *asked) == []
    for sharding in ("zero3", str(mine)):
        assert found(*LAUNCHED, f"train.deepspeed={sharding}", *asked) == [
            "ZeRO-3 cannot shard weights held in nf4 (--set train.deepspeed=zero2, or --set train.lora.quantize=none)",
            "train.compile cannot see the weights that ZeRO-3 gathers layer by layer (--set train.compile=false)",
        ]


def test_liger_without_a_gpu(found, monkeypatch):
    (said,) = found("train.liger=true")
    assert said == "train.liger needs a GPU, for which its kernels are compiled (--set train.liger=false)"
    monkeypatch.setattr(preflight, "gpus", lambda: (H100,))
    assert found("train.liger=true") == []


@pytest.mark.parametrize(
    ("lora", "sharding", "said"),
    [
        ({}, None, ["the loss's penalty looks at weights that train.lora leaves frozen"]),
        (None, "zero3", ["the loss's penalty looks at weights that ZeRO-3 holds in shards"]),
        (None, "zero2", []),
    ],
)
def test_a_penalty_looks_at_weights_that_are_trained_and_whole(lora, sharding, said):
    settings, execution = TrainSettings(lora=lora), Execution(launcher="torchrun", deepspeed=sharding)
    assert [error.problem for error in preflight.declared(settings, execution, penalised=True)] == said
    assert not list(preflight.declared(settings, execution))


@pytest.mark.parametrize("arm", ["l2_base", "ewc"])
def test_a_penalty_is_told_before_anything_is_trained(found, arm):
    frozen = (
        "the loss's penalty looks at weights that train.lora leaves frozen (train all weights: leave out train.lora)"
    )
    text = "data.pretraining=playground:playground_text"
    assert found("train.lora={}", text, arms=[arm]) == [frozen]
    assert found(f"{arm}:train.lora={{}}", text, arms=[arm]) == [frozen]
    assert found("sft:train.lora={}", text, arms=[arm]) == []
    assert found(*LAUNCHED, "train.deepspeed=zero3", text, arms=[arm]) == [
        "the loss's penalty looks at weights that ZeRO-3 holds in shards (--set train.deepspeed=zero2)"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{method: nonsense}", "mergekit has no method 'nonsense' (it has arcee_fusion, "),
        ("{parameters: {densty: 1}}", "mergekit's della has no parameter 'densty' (it has density, "),
        ("{parameters: {density: much}}", "mergekit refuses della: "),
        ("{method: karcher, weights: [1, 1, 1, 1]}", "mergekit's karcher has no weights (leave mergekit.weights away)"),
        ("{method: ties, base: false}", "mergekit's ties needs the base ("),
        ("{method: nuslerp}", "mergekit refuses nuslerp: Merge method requires exactly 2 non-base inputs; got 4 ("),
        ("{method: slerp}", "mergekit's slerp needs the parameter 't' (--set 'mergekit.parameters={t: ...}')"),
    ],
)
def test_what_mergekit_will_not_do_is_told_before_anything_is_trained(found, options, said):
    pytest.importorskip("mergekit", reason="mergekit is not installed: pip install 'instruct-harness[merge]'")
    (told,) = found(f"options.mergekit={options}", arms=["dtm,mergekit", "dtm,im,mergekit"])
    assert told.startswith(said)


def test_mergekit_that_is_not_installed(found, monkeypatch):
    monkeypatch.setattr("harness.mergekit_methods.find_spec", lambda _: None)
    said = "mergekit is not installed (pip install 'instruct-harness[merge]')"
    assert found(arms=["dtm,mergekit"]) == found(arms=["dtm,mergekit"], here=False) == [said]
    assert found(arms=["dtm,ties"]) == []


def test_mergekit_takes_what_it_has(found):
    pytest.importorskip("mergekit", reason="mergekit is not installed: pip install 'instruct-harness[merge]'")
    assert found(arms=["dtm,mergekit", "dtm,mergekit:method=ties:weights=[1,2,3,4]"]) == []


@pytest.mark.parametrize("launcher", ["deepspeed", "accelerate"])
def test_a_launcher_that_is_not_installed(found, absent, launcher):
    absent(launcher)
    (said,) = found(f"train.launcher={launcher}")
    assert said.startswith(f"the launcher {launcher} is not installed (pip install ")


def test_more_processes_than_gpus(found, monkeypatch):
    monkeypatch.setattr(preflight, "gpus", lambda: (H100, H100))
    (said,) = found("train.launcher=torchrun", "train.processes=4")
    assert said == "train.processes=4 are one a GPU, and this machine shows 2 (--set train.processes=2)"


def test_a_hostfile_that_is_not_there(found):
    (said,) = found("train.launcher=deepspeed", "train.hostfile=none.txt")
    assert said == "there is no hostfile none.txt (correct train.hostfile)"


@pytest.fixture
def problem(tmp_path):
    """A mirror with one problem of our own in the place and shape of HumanEval's."""
    folder = tmp_path / "openai/openai_humaneval"
    folder.mkdir(parents=True)
    row = {"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f", "test": "def check(f): pass"}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    return Places(tmp_path, None)


def test_generated_programs_that_nothing_can_shut_in(found, problem, monkeypatch):
    monkeypatch.setattr("harness.sandbox.sandbox.TIERS", ())
    wanted = "benchmarks=[humaneval]"
    (said,) = found(wanted, places=problem)
    assert said.startswith("nothing on this machine can shut in generated code")
    assert found(wanted, "runtime.unsafe_code=true", places=problem) == []
    assert found(wanted, places=problem, here=False) == []
    assert found(places=problem) == []


def test_too_little_disk(mounted):
    place = mounted("size=1m")
    parsed = [Setting.parse("seeds=[0]")]
    recipe, places = load("playground", parsed, []), Places(None, None)
    plan = build(recipe, choose_arms(recipe, [], parsed, baseline=True, factorial=False), places)
    store = Store(place)
    (said,) = preflight.problems(plan, store, estimate(plan, store, places))
    assert "1 stages leave models of ~3 MiB" in str(said)
    assert "~20 MiB for checkpoints" in str(said)


def test_what_was_chosen_is_one_line(monkeypatch):
    def line(*settings):
        parsed = [Setting.parse(text) for text in settings]
        recipe = load("playground", parsed, [])
        return preflight.chosen(build(recipe, choose_arms(recipe, [], [], baseline=True, factorial=False), nowhere))

    nowhere = Places(None, None)
    assert line() == "training: one process, float32, segment-sdpa (no GPU), packed"
    assert line(*LAUNCHED, "train.deepspeed=zero2") == (
        "training: torchrun x 2, zero2, float32, segment-sdpa (no GPU), packed"
    )
    monkeypatch.setattr(preflight, "gpus", lambda: (H100,))
    assert line("train.dtype=bfloat16", "train.lora.rank=8") == (
        "training: one process, LoRA, bfloat16, torch-varlen (flash-attn is not installed), packed"
    )


def test_the_attention_foretold_is_the_one_that_is_used():
    import torch

    from harness.execution import Execution
    from harness.jobs import TrainSettings
    from harness.train.attention import kernel

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in ("float32", "bfloat16"):
        foretold = preflight.attention(Execution(), TrainSettings(dtype=dtype))
        assert foretold.name == kernel(device, getattr(torch, dtype))


def test_the_command_tells_all_and_starts_nothing(command, tmp_path):
    config = tmp_path / "mine.json"
    config.write_text(json.dumps({"scheduler": {}, "zero_optimization": {"stage": 3}}))
    arguments = ("run", "--seeds", "1", "--set", "train.launcher=torchrun", "--set", f"train.deepspeed={config}")
    process = command(*arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["harness", "harness"]
    assert "training: torchrun x 1, mine, float32" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("visible", "seen"), [(None, "ab"), ("1", "b"), ("GPU-1,GPU-0", "ba"), ("0,7,1", "a"), ("", ""), ("-1", "")]
)
def test_gpus_are_those_that_cuda_would_show(tmp_path, monkeypatch, visible, seen):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('GPU-0, a, 81559\\nGPU-1, b, 81559')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert "".join(gpu.name for gpu in inventory.gpus.__wrapped__()) == seen


JUDGED = (
    "benchmarks=[mt_bench]",
    "judge.model=judge-1",
    "judge.base_url=http://localhost/v1",
    "judge.api_key_env=THE_KEY",
)


def test_the_judges_key_is_missed_before_anything_is_trained(found, monkeypatch, mirror):
    monkeypatch.setenv("HARNESS_DATA_ROOT", str(mirror))
    monkeypatch.delenv("THE_KEY", raising=False)
    assert "THE_KEY is not set" in found(*JUDGED)[0]
    monkeypatch.setenv("THE_KEY", "sk-secret")
    assert found(*JUDGED) == []
