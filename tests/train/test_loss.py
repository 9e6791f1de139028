from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from transformers import AutoConfig, AutoModelForCausalLM

from harness.api import Loss, Part, nll
from harness.errors import UserError
from harness.train.attention import ATTENTION
from harness.train.batches import MicroBatches, Steps
from harness.train.corpus import Corpus
from harness.train.layouts import check
from harness.train.loss import CausalModel, Head, Objective
from harness.train.microbatch import MicroBatch

VOCABULARY = 60


def network(architecture="llama", attention=ATTENTION, **config):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    made = AutoConfig.for_model(architecture, vocab_size=VOCABULARY, **{**sizes, "pad_token_id": 0, **config})
    return AutoModelForCausalLM.from_config(made, attn_implementation=attention)


def corpus(reduction="token", n=11):
    """Random examples with random weights, a few of them 0; the first token of each is never scored."""
    draw = np.random.Generator(np.random.PCG64(3))
    lengths = draw.integers(3, 30, size=n)
    weights = []
    for length in lengths:
        row = draw.choice([0.0, 0.1, 1.0], size=length).astype(np.float32)
        row[0], row[-1] = 0.0, 1.0
        weights.append(row / row.sum() if reduction == "example" else row)
    return Corpus(
        ids=draw.integers(VOCABULARY, size=lengths.sum()).astype(np.int32),
        parts=np.full(lengths.sum(), Part.RESPONSE, np.uint8),
        weights=np.concatenate(weights),
        offsets=np.cumsum([0, *lengths]),
        dataset=np.zeros(n, np.int32),
        names=("made",),
    )


def by_hand(model, rows, chosen, reduction):
    """The definition: whole logits of each example alone, the weighted sum over all, one division."""
    total = mass = torch.zeros(())
    for i in chosen:
        span = slice(rows.offsets[i], rows.offsets[i + 1])
        ids = torch.from_numpy(rows.ids[span].astype(np.int64))[None]
        weights = torch.from_numpy(rows.weights[span])[1:]
        losses = F.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        total = total + (losses * weights).sum()
        mass = mass + weights.sum()
    return total / (len(chosen) if reduction == "example" else mass)


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def first_step(model, rows, steps, reduction, *, chunk=None, loss=None):
    """Loss of the first optimiser step, its gradients left in the model."""
    data = MicroBatches(rows, steps, reduction)
    batches = [data[i] for i in range(steps.accumulation)]
    denominator = batches[0].denominator
    objective = Objective(loss or Loss(weights=lambda batch: batch.is_part(Part.RESPONSE)), Head.of(model), chunk=chunk)
    total = 0.0
    for batch in batches:
        value = objective(model, batch, denominator)
        value.backward()
        total += float(value.detach())
    return total


@pytest.mark.parametrize("reduction", ["token", "example"])
@pytest.mark.parametrize("micro_tokens", [10, 35, 64, 10_000])
@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("tied", [True, False])
def test_loss_and_gradients_equal_the_definition(reduction, micro_tokens, chunk, tied):
    rows = corpus(reduction)
    steps = Steps.of(np.arange(len(rows)), rows.lengths, len(rows), micro_tokens)
    packed, plain = network(tie_word_embeddings=tied), network(attention="eager", tie_word_embeddings=tied)
    packed.load_state_dict(plain.state_dict())
    found = first_step(packed, rows, steps, reduction, chunk=chunk)
    expected = by_hand(plain, rows, range(len(rows)), reduction)
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), abs=1e-6)
    ours, wanted = gradients(packed), gradients(plain)
    assert ours.keys() == wanted.keys()
    assert len(wanted) > 10
    for name, gradient in wanted.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("qwen2", {"num_key_value_heads": 1}),
        ("qwen3", {"num_key_value_heads": 1, "head_dim": 8}),
        ("mistral", {"num_key_value_heads": 1, "sliding_window": 5}),
        ("granite", {"logits_scaling": 4.0, "attention_multiplier": 0.25, "num_key_value_heads": 2}),
        ("cohere", {"logit_scale": 0.2, "num_key_value_heads": 1}),
        ("phi", {"num_key_value_heads": 2}),
        ("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
        ("olmo2", {"num_key_value_heads": 1}),
    ],
)
def test_families_of_models_equal_the_definition(architecture, config):
    rows = corpus()
    steps = Steps.of(np.arange(len(rows)), rows.lengths, len(rows), 64)
    packed, plain = network(architecture, **config), network(architecture, "eager", **config)
    packed.load_state_dict(plain.state_dict())
    check(packed, "packed")
    found = first_step(packed, rows, steps, "token")
    assert found == pytest.approx(float(by_hand(plain, rows, range(len(rows)), "token").detach()), abs=2e-6)


def test_final_soft_capping_is_right():
    model = network(
        "gemma2", num_key_value_heads=1, head_dim=8, attn_logit_softcapping=None, final_logit_softcapping=0.5
    )
    assert check(model, "packed").softcap == 0.5


def test_logits_predict_the_token_they_stand_at():
    model, rows = network().eval(), corpus()
    batch = MicroBatches(rows, Steps.of(np.arange(3), rows.lengths, 3, 1000), "token")[0]
    view = CausalModel(model, Head.of(model))
    losses = F.cross_entropy(view.logits(batch)[0], batch.input_ids[0], reduction="none")
    torch.testing.assert_close(view.token_nll(batch)[0, batch.kept], losses[batch.kept])
    assert bool((view.token_nll(batch)[0][batch.weights[0] == 0] == 0).all())
    assert bool((view.logits(batch)[0][batch.position_ids[0] == 0] == 0).all())


def test_a_penalty_counts_once_per_step():
    rows, model = corpus(), network()
    steps = Steps.of(np.arange(len(rows)), rows.lengths, len(rows), 35)
    assert steps.accumulation > 2
    plain = first_step(model, rows, steps, "token")
    loss = Loss(weights=lambda batch: batch.is_part(Part.RESPONSE), penalty=lambda _net, _refs: torch.tensor(2.5))
    assert first_step(model, rows, steps, "token", loss=loss) == pytest.approx(plain + 2.5, abs=1e-6)


def test_references_are_frozen_and_see_the_same_batch():
    rows, model, other = corpus(), network(), network()
    other.requires_grad_(requires_grad=False)
    batch = MicroBatches(rows, Steps.of(np.arange(4), rows.lengths, 4, 1000), "token")[0]

    def difference(view, seen, references):
        return view.token_nll(seen) - references["base"].token_nll(seen)

    loss = Loss(weights=lambda seen: seen.is_part(Part.RESPONSE), per_token=difference, references=("base",))
    value = Objective(loss, Head.of(model), {"base": other})(model, batch, batch.denominator)
    assert float(value.detach()) == 0.0
    value.backward()
    assert all(parameter.grad is None for parameter in other.parameters())
    assert any(bool(parameter.grad.any()) for parameter in model.parameters())


def test_embeddings_are_perturbed_in_training_only():
    rows, model = corpus(), network()
    batch = MicroBatches(rows, Steps.of(np.arange(4), rows.lengths, 4, 1000), "token")[0]
    noisy = Loss(weights=lambda seen: seen.is_part(Part.RESPONSE), embed=lambda out, _batch: out + 1.0)
    clean = Loss(weights=noisy.weights)
    values = {}
    for mode in (True, False):
        model.train(mode)
        values[mode] = [
            float(Objective(loss, Head.of(model))(model, batch, 1.0).detach()) for loss in (clean, noisy, clean)
        ]
    assert values[False][0] == values[False][1] == values[False][2] == values[True][0] == values[True][2]
    assert values[True][1] != values[True][0]


def test_an_empty_micro_batch_weighs_nothing_and_touches_every_parameter():
    model = network()
    batch = MicroBatch.of([], [])
    value = Objective(Loss(weights=lambda seen: seen.is_part(Part.RESPONSE), per_token=nll), Head.of(model))(
        model, batch, 3.0
    )
    value.backward()
    assert float(value.detach()) == 0.0
    assert batch.tokens == 0
    assert batch.segments.tolist() == [[-1]]
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in model.named_parameters() if "lm_head" not in name} | {"lm_head.weight"}
    assert not any(bool(parameter.grad.any()) for parameter in model.parameters())


def test_a_token_loss_of_another_shape_is_refused():
    model = network()
    loss = Loss(
        weights=lambda seen: seen.is_part(Part.RESPONSE), per_token=lambda view, seen, _: view.token_nll(seen).sum()
    )
    batch = MicroBatches(corpus(), Steps.of(np.arange(2), corpus().lengths, 2, 100), "token")[0]
    with pytest.raises(UserError, match="one loss per token"):
        Objective(loss, Head.of(model))(model, batch, 1.0)


def test_the_leading_run_of_a_part_is_found_in_each_example():
    parts = [np.array([0, 0, 1, 0], np.uint8), np.array([1, 0], np.uint8), np.array([0], np.uint8)]
    batch = MicroBatch.of([np.zeros(len(row), np.int32) for row in parts], parts)
    assert batch.leads(Part.TEMPLATE).tolist() == [[1, 1, 0, 0, 0, 0, 1]]
    assert batch.is_part(Part.PROMPT).tolist() == [[0, 0, 1, 0, 1, 0, 0]]
