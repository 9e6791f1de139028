"""In bfloat16 whoever trains computes in it, over trained weights in float32; in float32 nobody computes in less."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch

from harness.train import network

LORA = {"rank": 4, "alpha": 8.0}
HALF = ("train.dtype=bfloat16", "train.lr=1e-3")


@dataclass
class Precisions:
    """Seen where a layer's attention leaves it, in training."""

    weights: set[torch.dtype] = field(default_factory=set)
    computed: set[torch.dtype] = field(default_factory=set)

    def note(self, module, inputs, output):
        if module.training:
            self.weights.add(module.weight.dtype)
            self.computed.update((inputs[0].dtype, output.dtype))


@pytest.fixture
def seen(monkeypatch):
    """The precisions of all networks that the test trains in this process."""
    found, load = Precisions(), network.load

    def watched(*arguments, **storage):
        model = load(*arguments, **storage)
        for layer in model.model.layers:
            layer.self_attn.o_proj.register_forward_hook(found.note)
        return model

    monkeypatch.setattr(network, "load", watched)
    return found


def column(folder, name):
    return [json.loads(line)[name] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("dtype", "lora", "held"),
    [
        ("float32", None, "float32"),
        ("bfloat16", None, "float32"),
        ("float32", LORA, "float32"),
        ("bfloat16", LORA, "bfloat16"),
    ],
)
def test_a_stage_computes_in_what_was_asked_for(stage, seen, dtype, lora, held):
    stage(dtype=dtype, lora=lora, epochs=1)
    assert seen == Precisions({getattr(torch, held)}, {getattr(torch, dtype)})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rank_computes_in_what_was_asked_for(make, one_rank, seen, tmp_path, dtype):
    make.launched(tmp_path, f"train.dtype={dtype}", *one_rank).train_here(tmp_path / "stage")
    assert seen == Precisions({torch.float32}, {getattr(torch, dtype)})


PARTICULAR = """
import torch
from harness.api import Loss, Part, Plugin, hookimpl

PLUGIN = Plugin(name="particular", version="1.0", summary="Trains on answers, and in bfloat16 alone.")

def computed(model, batch, references):
    one = torch.ones(1, 1, device=batch.input_ids.device)
    assert (one @ one).dtype is torch.bfloat16, "matrices are multiplied in another precision"
    return model.token_nll(batch)

@hookimpl
def loss_fn(arm):
    return Loss(weights=lambda batch: batch.is_part(Part.RESPONSE), per_token=computed)
"""
"""DeepSpeed starts once a process, so that its training is looked at from within."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("lora", [(), pytest.param(("train.lora.rank=4",), marks=pytest.mark.soak)])
def test_zero0_trains_in_bfloat16_as_torch_does(make, tmp_path, processes, lora):
    (tmp_path / "particular.py").write_text(PARTICULAR)
    settings = (*HALF, *lora, "train.launcher=torchrun", f"train.processes={processes}")
    for name, sharding in {"torch": (), "zero0": ("train.deepspeed=zero0",)}.items():
        stage = make.launched(tmp_path, *settings, *sharding, arm=str(tmp_path / "particular.py"))
        stage.train(tmp_path / name)
    for measured in ("loss", "grad_norm"):
        ours, wanted = (column(tmp_path / name, measured) for name in ("zero0", "torch"))
        assert ours == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("lora", [None, LORA])
def test_bfloat16_is_near_float32_and_rounds(stage, lora):
    exact, half = (column(stage(dtype, dtype=dtype, lora=lora)[1], "loss") for dtype in ("float32", "bfloat16"))
    assert half == pytest.approx(exact, abs=0.02)
    assert half != exact


@pytest.mark.parametrize("how", [{"runtime": {"chunk_tokens": 7}}, {"execution": {"gradient_checkpointing": True}}])
@pytest.mark.parametrize("lora", [None, LORA])
def test_bfloat16_stays_what_it_is_in_pieces_and_computed_again(stage, lora, how):
    given = {"dtype": "bfloat16", "lora": lora}
    whole, again = (
        column(stage(name, **given, **more)[1], "loss") for name, more in {"whole": {}, "again": how}.items()
    )
    assert again[0] == pytest.approx(whole[0], abs=1e-6)
    assert again == pytest.approx(whole, abs=1e-3)
