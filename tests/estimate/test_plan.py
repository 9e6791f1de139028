"""What a plan is said to need, held against what the same plan turned out to need."""

import json

import pytest

from harness.estimate.model import known
from harness.estimate.plan import estimate
from harness.store import Store

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
}  # fmt: skip


H100 = ("NVIDIA H100 80GB HBM3", 80 * 2**30)


@pytest.fixture
def llama(tmp_path):
    """The folder of an 8B Llama, of which only the configuration is there."""
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    return folder


def test_a_finished_plan_needs_nothing(planned, tiny_run):
    plan, places = planned(tiny_run / "tiny.yaml", cache=tiny_run / "store" / "cache")
    found = estimate(plan, Store(tiny_run / "store"), places)
    assert (found.device_hours.exact, found.seconds.exact, found.disk) == (0, 0, 0)
    stage = found.arms[0].stages[0][0]
    assert stage.tokens.counted
    assert stage.tokens.total == Store(tiny_run / "store").manifest(stage.key)["result"]["tokens"]


def test_finished_stages_tell_of_those_to_come(planned, tiny_run):
    store = Store(tiny_run / "store")
    plan, places = planned(tiny_run / "tiny.yaml", "seeds=[1]", cache=tiny_run / "store" / "cache")
    found = estimate(plan, store, places)
    counted = {
        entry.manifest["label"].partition(" (")[0]: entry.manifest["result"]["tokens"]
        for entry in store.entries()
        if entry.manifest["kind"] == "train"
    }
    for arm in found.arms:
        for (stage,) in arm.stages:
            assert stage.tokens.total == pytest.approx(counted[f"{arm.id}: train {stage.name}"], rel=0.02)
            assert stage.speed.source == "measured by finished stages"
    assert found.seconds.whole
    assert found.seconds.known > 0


def test_tokens_judged_by_sampled_rows_are_near(planned, tiny_run, tmp_path):
    plan, places = planned(tiny_run / "tiny.yaml", "seeds=[1]", cache=tiny_run / "store" / "cache")
    blind = estimate(plan, Store(tmp_path / "none"), places).arms[0].stages[0][0]
    told = estimate(plan, Store(tiny_run / "store"), places).arms[0].stages[0][0]
    assert not blind.tokens.counted
    assert blind.tokens.total == pytest.approx(told.tokens.total, rel=0.35)
    assert blind.seconds is None


def test_rows_are_cut_at_the_longest_that_is_trained_on(planned, chats, tmp_path):
    settings = (f"data.general={chats}", "data.specialist=playground:playground_code", "train.max_length=64")
    plan, places = planned("playground", *settings, plugins=("im",))
    (stage, *_) = estimate(plan, Store(tmp_path), places).arms[0].stages[0]
    assert stage.tokens.longest == 64


def test_an_unfetched_model_is_unknown(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    plan, places = planned("playground", "model=some/model", "seeds=[0]")
    found = estimate(plan, Store(tmp_path), places)
    assert found.model is None
    assert found.arms[0].stages[0][0].memory is None
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA_8B))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    assert estimate(plan, Store(tmp_path), places).model.parameters == pytest.approx(8.03e9, rel=0.001)


def test_weights_on_disk_are_counted_from_their_headers(tiny_run):
    store = Store(tiny_run / "store")
    (prepared,) = (entry for entry in store.entries() if entry.manifest["kind"] == "prepare")
    found = known(store.folder(prepared.key) / "model")
    assert found.parameters == prepared.manifest["result"]["parameters"]


def test_what_does_not_fit_is_told_with_what_would(planned, llama, tmp_path, machine):
    machine(gib=512, gpu=H100, count=8)
    settings = ("seeds=[0]", "train.dtype=bfloat16", "train.max_length=4096", "runtime.micro_tokens=16384")
    plan, places = planned("playground", f"model={llama}", *settings)
    found = estimate(plan, Store(tmp_path), places)
    (trouble, *_) = found.troubles
    assert "there are 80 GiB" in trouble.problem
    launched = "--set train.launcher=torchrun --set train.processes=8 --set train.deepspeed"
    assert [remedy.settings for remedy in trouble.remedies] == [
        f"{launched}=zero2",
        f"{launched}=zero3",
        f"{launched}=zero3_offload",
    ]
    assert all(remedy.bytes <= H100[1] for remedy in trouble.remedies)
    assert found.arms[0].stages[0][0].speed.source == "assumes 35 % of 989.4 TFLOP/s a device"


def test_the_least_disturbing_settings_come_first(planned, tmp_path, machine):
    machine(gib=4)
    settings = (
        "seeds=[0]", "model.init.config.hidden_size=512", "model.init.config.num_hidden_layers=16",
        "runtime.workers=1", "runtime.micro_tokens=8192", "train.batch_size=512",
    )  # fmt: skip
    plan, places = planned("playground", *settings)
    found = estimate(plan, Store(tmp_path), places)
    (trouble, *_) = found.troubles
    assert [remedy.settings for remedy in trouble.remedies][:2] == [
        "--set runtime.micro_tokens=4096",
        "--set train.gradient_checkpointing=true",
    ]
    changed, places = planned("playground", *settings, "runtime.micro_tokens=4096")
    assert estimate(changed, Store(tmp_path), places).troubles == ()


def test_where_no_settings_fit_it_is_said(planned, llama, tmp_path, machine):
    machine(gib=3)
    launched = ("train.launcher=torchrun", "train.processes=2", "train.deepspeed=zero3")
    plan, places = planned("playground", f"model={llama}", "seeds=[0]", "runtime.workers=1", *launched)
    (trouble, *_) = estimate(plan, Store(tmp_path), places).troubles
    assert trouble.problem.endswith(" GiB for each of the 2 processes at once, and no settings are known that fit")
    assert trouble.remedies == ()


def test_nothing_is_warned_of_where_everything_fits(planned, tmp_path, machine):
    machine(gib=8)
    plan, places = planned("playground")
    assert estimate(plan, Store(tmp_path), places).troubles == ()


def test_an_estimate_is_json(planned, tmp_path):
    plan, places = planned("playground", "seeds=[0]")
    found = json.loads(json.dumps(estimate(plan, Store(tmp_path), places).to_json()))
    assert found["parameters"] == 869504
    assert set(found["arms"]["dmt+im"]["stages"]) == {"specialist", "general"}
