from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch._dynamo.utils import counters

from harness.execution import Execution
from harness.train import acceleration

LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.2}

compiles = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script:DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)
"""What the compiler's own code is warned of."""


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def called():
    """How often each kind of module was called in training."""
    counts = Counter()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _inputs, _output: counts.update([type(module).__name__] if module.training else [])
    )
    yield counts
    hook.remove()


@pytest.fixture(scope="module")
def dropping(make, tmp_path_factory):
    """A model that draws random numbers in every layer."""
    folder = tmp_path_factory.mktemp("dropping")
    make.prepare(folder, attention_dropout=0.2)
    return folder


# --- activations computed again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [None, LORA])
def test_recomputed_activations_change_nothing(make, dropping, stage, called, lora):
    given = {"start": dropping, "lora": lora, "runtime": {"micro_tokens": 64}}
    _, kept = stage("kept", **given)
    once = called["LlamaAttention"]
    called.clear()
    outcome, again = stage("again", execution={"gradient_checkpointing": True}, **given)
    assert called["LlamaAttention"] == 2 * once > 0
    assert losses(again) == pytest.approx(losses(kept), abs=1e-6)
    for name, tensor in make.weights(again).items():
        torch.testing.assert_close(tensor, make.weights(kept)[name], atol=1e-6, rtol=0, msg=name)
    assert outcome["measured"]["gradient_checkpointing"] is True


# --- compiled layers -----------------------------------------------------------------------------------------------


@compiles
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lora", [None, pytest.param({**LORA, "dropout": 0.0}, marks=pytest.mark.soak)])
def test_compiled_layers_give_the_same_losses_and_are_compiled_once_for_all_lengths(make, stage, lora):
    given = {"mixture": ("first", "second"), "lora": lora, "runtime": {"micro_tokens": 80}, "lr": 1e-3}
    _, eager = stage("eager", **given)
    counters.clear()
    outcome, compiled = stage("compiled", execution={"compile": True}, **given)
    assert losses(compiled) == pytest.approx(losses(eager), abs=1e-5)
    assert make.weights(compiled).keys() == make.weights(eager).keys()
    for name, tensor in make.weights(compiled).items():
        torch.testing.assert_close(tensor, make.weights(eager)[name], atol=1e-4, rtol=0, msg=name)
    # A layer is cut at its attention into four pieces; rows of one token, which fill a step up, are another kind.
    assert 4 <= counters["stats"]["unique_graphs"] <= 8
    assert outcome["measured"]["compile"] is True
    assert outcome["result"]["steps"] == 16


@compiles
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_compiled_layers_can_be_recomputed(stage):
    given = {"runtime": {"micro_tokens": 80}, "lr": 1e-3}
    _, eager = stage("eager", **given)
    _, compiled = stage("compiled", execution={"compile": True, "gradient_checkpointing": True}, **given)
    assert losses(compiled) == pytest.approx(losses(eager), abs=1e-5)


def test_without_a_compiler_nothing_is_compiled_and_nothing_else_is_done_instead(refused, stage, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(stage, execution={"compile": True}) == (
        "train.compile needs a compiler, and there is no g++ (install one, or --set train.compile=false)"
    )


def test_a_switched_off_compiler_is_named(refused, monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    assert "TORCHDYNAMO_DISABLE=1" in refused(acceleration.check, Execution(compile=True))
    acceleration.check(Execution())
