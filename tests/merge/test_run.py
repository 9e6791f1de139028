"""Experts of a run, merged by plug-ins in the strategy's place, for real."""

import json

import pytest
import torch
from safetensors.torch import load_file

from harness.store import Store
from harness.testing import run_tiny

EXPERTS = '''
"""An expert for each dataset, averaged unless another plug-in merges."""

from harness.api import Average, Mixture, Plugin, Stage, experts, hookimpl

PLUGIN = Plugin(name="experts", version="1.0", summary="An expert for each dataset.")


@hookimpl
def strategy(arm, data):
    """From the base, each."""
    return [Stage(name, Mixture.of(name), start="base") for name in sorted(data)]


@hookimpl(trylast=True)
def merger(arm, stages):
    """The mean."""
    return Average(experts(stages))
'''


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    plugin = folder / "experts.py"
    plugin.write_text(EXPERTS)
    arms = [
        str(plugin),
        f"{plugin},ties",
        f"{plugin},average:adapters=apart",
        f"{plugin},dare",
        f"{plugin},soup:held_out=1/4",
        f"{plugin},fisher:examples=5",
    ]
    run_tiny(arms, folder, settings=["train.lora.rank=2", "limit=1", "seeds=[1]"])
    return folder


@pytest.mark.timeout(300)
def test_arms_share_experts_and_merge_them_differently(ran):
    folder = ran
    entries = Store(folder / "store").entries()
    merges = {entry.manifest["label"]: entry.manifest for entry in entries if entry.manifest["kind"] == "merge"}
    trained = [entry for entry in entries if entry.manifest["kind"] == "train"]
    assert len(trained) == 1 + 3 + 3  # the soup's experts do not see what is held out
    assert sorted(merges) == [
        "average+experts@average.adapters=apart: average 3 experts (seed 1)",
        "dare+experts: merge 3 experts by dare (seed 1)",
        "experts+fisher@fisher.examples=5: merge 3 experts by fisher (seed 1)",
        "experts+soup@soup.held_out=1/4: merge 3 experts by soup (seed 1)",
        "experts+ties: merge 3 experts by ties (seed 1)",
        "experts: average 3 experts (seed 1)",
    ]
    by_method = {label.partition(":")[0]: manifest for label, manifest in merges.items()}
    assert by_method["experts"]["declared"].keys() == {"method", "weights"}
    assert by_method["dare+experts"]["declared"]["seed"] == 1
    assert by_method["experts+ties"]["declared"]["options"] == {
        "class": "Ties", "density": "1/5", "scale": "1/1", "trim": "model"
    }  # fmt: skip
    assert [plugin["name"] for plugin in by_method["experts+ties"]["plugins"]] == ["ties"]
    assert "base" in by_method["experts+ties"]["parents"]
    models = {label: load_file(folder / "store" / "jobs" / manifest["key"] / "model" / "model.safetensors")
              for label, manifest in by_method.items()}  # fmt: skip
    name = "model.layers.0.self_attn.q_proj.weight"
    several = [tensors[name] for tensors in models.values()]
    assert all(not torch.equal(one, two) for i, one in enumerate(several) for two in several[:i])


def test_a_greedy_soup_keeps_what_lowers_the_loss_on_what_no_stage_saw(ran):
    folder = ran
    store = Store(folder / "store")
    (soup,) = (entry.manifest for entry in store.entries() if entry.manifest["label"].endswith("by soup (seed 1)"))
    assert [item["data"]["name"] for item in soup["declared"]["held_out"]] == [
        "playground_arithmetic", "playground_chat", "playground_code",
    ]  # fmt: skip
    assert {op["op"] for item in soup["declared"]["held_out"] for op in item["ops"]} == {"sample"}
    for key in soup["parents"].values():
        declared = store.manifest(key)["declared"]
        assert [op["op"] for item in declared["mixture"] for op in item["ops"]] == ["rest"]
        assert store.manifest(key)["result"]["examples"] == 30
    losses = {tuple(one["stages"]): one["loss"] for one in soup["result"]["held_out_losses"]}
    names = sorted((stages for stages in losses if len(stages) == 1), key=losses.get)
    assert len(names) == 3
    kept, lowest = names[0], losses[names[0]]
    for name in names[1:]:
        tried = losses[kept + name]
        if tried < lowest:
            kept, lowest = kept + name, tried
    assert soup["result"]["shares"] == {name: f"1/{len(kept)}" for name in kept}
    rows = [json.loads(path.read_text())["result"] for path in (folder / "run" / "rows").glob("*.json")]
    (merged,) = (row["seeds"][0]["merge"] for row in rows if "soup" in row["arm"])
    assert merged["weights"] == soup["result"]["shares"]


def test_fisher_information_is_estimated_of_each_expert_on_its_own_data(ran):
    manifests = {entry.key: entry.manifest for entry in Store(ran / "store").entries()}
    (merge,) = (of for of in manifests.values() if of["label"].endswith("by fisher (seed 1)"))
    names = ["playground_arithmetic", "playground_chat", "playground_code"]
    assert sorted(merge["parents"]) == sorted([*names, *(f"fisher:{name}" for name in names)])
    for name in names:
        fisher = manifests[merge["parents"][f"fisher:{name}"]]
        assert fisher["kind"] == "fisher"
        assert fisher["parents"] == {"model": merge["parents"][name]}
        assert [item["data"]["name"] for item in fisher["declared"]["items"]] == [name]
        assert fisher["result"]["examples"] == 5


def test_the_plan_says_what_merges(ran):
    folder = ran
    plan = json.loads((folder / "run" / "plan.json").read_text())
    assert {job["declared"]["method"] for job in plan["jobs"].values() if job["kind"] == "merge"} == {
        "average", "dare", "fisher", "soup", "ties",
    }  # fmt: skip
