"""Packed, grouped and padded: what each needs of a network, that examples stay apart, and that all train alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from harness.api import Part
from harness.errors import UserError
from harness.train.attention import ATTENTION
from harness.train.layouts import attention_for, attention_name, check, check_architecture
from harness.train.loss import CausalModel, Head
from harness.train.microbatch import MicroBatch

VOCABULARY = 60
CPU = torch.device("cpu")
ARCHITECTURES = {
    "llama": {"num_key_value_heads": 1},
    "mistral": {"num_key_value_heads": 1, "sliding_window": 3},
    "gemma2": {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 3, "attn_logit_softcapping": 50.0},
    "mamba": {"state_size": 4},
    "bloom": {"n_layer": 1, "n_head": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 1},
    "gpt_oss": {
        "num_key_value_heads": 1,
        "head_dim": 8,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "sliding_window": 3,
    },
}


def network(architecture, attention=None):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {**sizes, "pad_token_id": 0, **ARCHITECTURES[architecture]}
    made = AutoConfig.for_model(architecture, vocab_size=VOCABULARY, **config)
    return AutoModelForCausalLM.from_config(made, attn_implementation=attention)


# --- what a network must be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        ("gemma2", "Gemma2Attention uses softcap"),
        ("gpt_oss", "GptOssAttention uses s_aux"),
        ("mamba", "Mamba"),
        ("bloom", "Bloom"),
        ("lfm2", "Lfm2.* influence each other"),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name_and_can_be_grouped(architecture, named):
    with pytest.raises(UserError, match=rf"{named}.*\(--set train.layout=grouped\)"):
        check(network(architecture, ATTENTION), "packed")
    own = "eager" if architecture == "gemma2" else None
    assert check(network(architecture, own), "grouped").vocabulary == VOCABULARY


def test_soft_capping_that_torchs_attention_would_pass_over_is_refused():
    with pytest.raises(UserError, match="Gemma2ForCausalLM uses softcap, which torch's attention does not compute"):
        check(network("gemma2", "sdpa"), "grouped")


@pytest.mark.parametrize("layout", ["packed", "grouped"])
def test_a_head_that_changes_its_logits_is_refused(layout):
    model = network("llama", ATTENTION if layout == "packed" else None)
    model.lm_head.register_forward_hook(lambda _module, _inputs, out: out * 1.5)
    with pytest.raises(UserError, match="LlamaForCausalLM gives other logits"):
        check(model, layout)


def test_a_network_that_looks_at_other_rows_is_refused():
    model = network("llama")
    model.model.layers[0].register_forward_hook(lambda _module, _inputs, out: out + out.mean(0, keepdim=True))
    with pytest.raises(UserError, match="LlamaForCausalLM lets padded examples influence each other"):
        check(model, "padded")


def test_a_network_that_looks_ahead_is_refused():
    """Its own padding would change an example."""
    model = network("llama")
    model.model.layers[0].register_forward_hook(lambda _module, _inputs, out: out + out.mean(1, keepdim=True))
    with pytest.raises(UserError, match="LlamaForCausalLM lets padded examples influence each other"):
        check(model, "padded")


@pytest.mark.parametrize(
    ("architecture", "layout", "asked", "ran"),
    [
        ("llama", "packed", ATTENTION, "segment-sdpa"),
        ("llama", "grouped", None, "sdpa"),
        ("gemma2", "grouped", "eager", "eager"),
        ("gpt_oss", "padded", None, "eager"),
        ("mamba", "grouped", None, "none"),
    ],
)
def test_the_attention_that_runs_is_named(tmp_path, architecture, layout, asked, ran):
    made = network(architecture)
    made.config.save_pretrained(tmp_path)
    attention = attention_for(tmp_path, layout, CPU, torch.float32)
    assert attention == asked
    assert attention_name(network(architecture, attention), layout, CPU, torch.float32) == ran


def test_a_small_model_stands_for_one_whose_weights_lie_in_shards(tmp_path):
    network("gemma2").config.save_pretrained(tmp_path)
    check_architecture(tmp_path, "grouped")
    with pytest.raises(UserError, match=r"softcap.*--set train.layout=grouped"):
        check_architecture(tmp_path, "packed")


# --- examples stay apart ---------------------------------------------------------------------------------------------


def rows(*seeds):
    """Examples of 9, 5 and 7 tokens."""
    draws = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
    return [
        draw.integers(1, VOCABULARY, size=n).astype(np.int32)
        for draw, n in zip(draws, (9, 5, 7)[: len(seeds)], strict=True)
    ]


def watched(model, batch, example, poison=None):
    """Losses of one example, and the gradient of their sum in its own input embeddings and in all weights.

    `poison` is added to the input embeddings of every other example.
    """
    model.zero_grad()
    own = batch.segments[0] == example
    neighbours = (batch.segments[0] >= 0) & ~own
    embedded = []

    def disturb(_module, _inputs, out):
        flat = out.flatten(0, 1)
        flat = flat if poison is None else torch.where(neighbours[:, None], flat + poison, flat)
        flat.retain_grad()
        embedded.append(flat)
        return flat.view_as(out)

    hook = model.get_input_embeddings().register_forward_hook(disturb)
    losses = CausalModel(model, Head.of(model)).token_nll(batch)[0, own]
    losses.sum().backward()
    hook.remove()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return losses.detach(), embedded[0].grad[own], embedded[0].grad[~own], gradients


def batch_of(ids, layout):
    parts = [np.full(len(row), Part.RESPONSE, np.uint8) for row in ids]
    weights = [np.ones(len(row), np.float32) for row in ids]
    for row in weights:
        row[0] = 0
    return MicroBatch.of(ids, parts, weights, padded=layout != "packed")


def same(architecture, found, wanted):
    """To the last bit; but experts compute together whatever tokens were sent to them."""
    torch.testing.assert_close(found, wanted, atol=1e-5 if architecture == "gpt_oss" else 0.0, rtol=0)


CASES = [
    *[(architecture, "packed") for architecture in ("llama", "mistral")],
    *[(architecture, "padded") for architecture in ARCHITECTURES],
]


def made_for(architecture, layout):
    own = "eager" if architecture == "gemma2" else None
    return network(architecture, ATTENTION if layout == "packed" else own)


@pytest.mark.parametrize(("architecture", "layout"), CASES)
def test_other_tokens_in_a_neighbour_change_no_loss_and_no_gradient(architecture, layout):
    model, clean = made_for(architecture, layout), rows(1, 2, 3)
    for example in range(3):
        other = rows(4, 5, 6)
        other[example] = clean[example]
        losses, own, others, gradients = watched(model, batch_of(clean, layout), example)
        again, own_again, others_again, gradients_again = watched(model, batch_of(other, layout), example)
        same(architecture, again, losses)
        same(architecture, own_again, own)
        assert not others.any()
        assert not others_again.any()
        for name, gradient in gradients.items():
            same(architecture, gradients_again[name], gradient)


@pytest.mark.parametrize(("architecture", "layout"), CASES)
def test_a_neighbour_that_explodes_changes_no_loss_and_no_gradient(architecture, layout):
    model, batch = made_for(architecture, layout), batch_of(rows(1, 2, 3), layout)
    for example in range(3):
        losses, own, _, _ = watched(model, batch, example)
        for poison in (1e4, 1e30, float("nan")):
            again, own_again, _, _ = watched(model, batch, example, poison)
            same(architecture, again, losses)
            same(architecture, own_again, own)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_changes_nothing(architecture):
    model = made_for(architecture, "padded")
    ids = rows(1, 2, 3)
    for example, row in enumerate(ids):
        losses, own, _, _ = watched(model, batch_of(ids, "padded"), example)
        alone, own_alone, _, _ = watched(model, batch_of([row], "padded"), 0)
        torch.testing.assert_close(losses, alone, atol=1e-6, rtol=0)
        torch.testing.assert_close(own, own_alone, atol=1e-6, rtol=0)


def test_padding_is_no_token_and_no_example():
    batch = batch_of(rows(1, 2, 3), "padded")
    assert batch.tokens == 9 + 5 + 7
    assert batch.input_ids.shape == (1, 27)
    assert batch.inputs["input_ids"].shape == (3, 9)
    assert batch.inputs["attention_mask"].sum(1).tolist() == [9, 5, 7]
    assert (batch.segments == -1).sum() == 6
    assert batch.is_part(Part.PAD)[0].tolist() == (batch.segments[0] == -1).float().tolist()
    assert not batch.weights[0][batch.segments[0] == -1].any()
    assert batch.leads(Part.RESPONSE)[0].tolist() == batch.is_part(Part.RESPONSE)[0].tolist()


def test_an_empty_micro_batch_of_any_layout_can_be_computed():
    for layout in ("packed", "padded"):
        model = made_for("gemma2" if layout == "padded" else "llama", layout)
        batch = MicroBatch.of([], [], padded=layout == "padded")
        assert batch.tokens == 0
        losses = CausalModel(model, Head.of(model)).token_nll(batch)
        losses.sum().backward()
        assert losses.tolist() == [[0.0]]


# --- all layouts train alike -----------------------------------------------------------------------------------------

TWENTY_STEPS = {"mixture": ("first", "second"), "epochs": 2.5, "lr": 3e-3}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("reduction", ["token", "example"])
def test_twenty_steps_are_the_same_in_every_layout(make, stage, reduction):
    done = {
        (layout, micro_tokens): stage(
            f"{layout}-{micro_tokens}",
            layout=layout,
            runtime={"micro_tokens": micro_tokens},
            loss_reduction=reduction,
            **TWENTY_STEPS,
        )
        for layout, micro_tokens in [("packed", 128), ("grouped", 128), ("grouped", 5000), ("padded", 90)]
    }
    outcome, folder = done.pop(("packed", 128))
    assert outcome["result"]["steps"] == 20
    for other, where in done.values():
        assert {**other["result"], "first_loss": 0, "final_loss": 0} == {
            **outcome["result"],
            "first_loss": 0,
            "final_loss": 0,
        }
        assert other["measured"]["attention"] == "sdpa"
        for ours, wanted in zip(lines(where), lines(folder), strict=True):
            assert ours["loss"] == pytest.approx(wanted["loss"], abs=1e-5)
            assert ours["tokens"] == wanted["tokens"]
        for name, tensor in make.weights(where).items():
            torch.testing.assert_close(tensor, make.weights(folder)[name], atol=1e-5, rtol=0, msg=name)


NOT_PACKED = {
    "gemma2": ({"head_dim": 8, "attn_logit_softcapping": 50.0, "sliding_window": 8}, "eager"),
    "mamba": ({"state_size": 4}, "none"),
}


@pytest.mark.parametrize("architecture", NOT_PACKED)
def test_what_cannot_be_packed_trains_grouped(make, stage, tmp_path_factory, architecture):
    config, attention = NOT_PACKED[architecture]
    start = tmp_path_factory.mktemp("start")
    make.prepare(start, architecture=architecture, **config)
    with pytest.raises(UserError, match=r"--set train.layout=grouped"):
        stage("packed", start=start)
    outcome, _ = stage("grouped", start=start, layout="grouped")
    assert outcome["measured"]["attention"] == attention
    assert outcome["result"]["final_loss"] < outcome["result"]["first_loss"] - 0.3
