"""KL and L2 regularisation against torch's own, in value and gradient, however a step is laid out; and composed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from transformers import LlamaConfig, LlamaForCausalLM

from harness.api import Part
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.errors import UserError
from harness.train.attention import ATTENTION
from harness.train.batches import MicroBatches, Steps
from harness.train.corpus import Corpus
from harness.train.loss import Head, Objective

VOCABULARY = 60


def network(seed, attention=ATTENTION):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    made = LlamaConfig(vocab_size=VOCABULARY, pad_token_id=0, initializer_range=0.3, **sizes)
    return LlamaForCausalLM._from_config(made, attn_implementation=attention)


def corpus(n=9):
    """Random examples, some tokens of which weigh nothing and some a half."""
    draw = np.random.Generator(np.random.PCG64(3))
    lengths = draw.integers(3, 20, size=n)
    weights = draw.choice([0.0, 0.5, 1.0], size=lengths.sum()).astype(np.float32)
    offsets = np.cumsum([0, *lengths])
    weights[offsets[:-1]], weights[offsets[1:] - 1] = 0.0, 1.0
    return Corpus(
        ids=draw.integers(VOCABULARY, size=lengths.sum()).astype(np.int32),
        parts=np.full(lengths.sum(), Part.RESPONSE, np.uint8),
        weights=weights,
        offsets=offsets,
        dataset=np.zeros(n, np.int32),
        names=("made",),
    )


def loss(*methods, **options):
    return bind(ArmSpec(methods, options)).loss()


def step(objective, model, rows, micro_tokens=40):
    """Loss and gradients of one optimiser step over all examples."""
    steps = Steps.of(np.arange(len(rows)), rows.lengths, len(rows), micro_tokens)
    data = MicroBatches(rows, steps, "token")
    total = 0.0
    for batch in (data[i] for i in range(steps.accumulation)):
        value = objective(model, batch, batch.denominator)
        value.backward()
        total += float(value.detach())
    return total, {name: parameter.grad for name, parameter in model.named_parameters()}


def by_torch(model, base, rows, divergence, strength):
    """The definition with whole logits, an example at a time: the weighted mean of NLL + strength * divergence."""
    total = mass = torch.zeros(())
    for start, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
        ids = torch.from_numpy(rows.ids[start:end].astype(np.int64))[None]
        weights = torch.from_numpy(rows.weights[start:end])[1:]
        ours = F.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
        with torch.no_grad():
            theirs = F.log_softmax(base(input_ids=ids).logits[0, :-1], -1)
        losses = F.nll_loss(ours, ids[0, 1:], reduction="none") + strength * divergence(ours, theirs, ids[0, 1:])
        total, mass = total + (losses * weights).sum(), mass + weights.sum()
    value = total / mass
    value.backward()
    return float(value.detach()), {name: parameter.grad for name, parameter in model.named_parameters()}


def whole(ours, theirs, _labels):
    return F.kl_div(theirs, ours, reduction="none", log_target=True).sum(-1)


def label_term(ours, theirs, labels):
    terms = F.kl_div(theirs, ours, reduction="none", log_target=True)
    return terms.gather(-1, labels[:, None])[:, 0]


def label(ours, theirs, labels):
    """What the term would be, were the token certain."""
    return label_term(ours, theirs, labels) / ours.gather(-1, labels[:, None])[:, 0].exp().detach()


def same(found, wanted):
    assert found[0] == pytest.approx(wanted[0], abs=2e-6, rel=1e-6)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=2e-6, rtol=1e-4, msg=name)


# --- kl ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize(("over", "divergence"), [("vocabulary", whole), ("label_term", label_term)])
@pytest.mark.parametrize("chunk", [None, 7])
def test_kl_is_torchs(over, divergence, strength, chunk):
    rows, base = corpus(), network(1).requires_grad_(requires_grad=False)
    made = loss("kl", kl={"over": over, "weight": strength})
    model = network(0)
    found = step(Objective(made, Head.of(model), {"base": base}, chunk=chunk), model, rows)
    same(found, by_torch(network(0, "eager"), network(1, "eager"), rows, divergence, strength))
    assert all(parameter.grad is None for parameter in base.parameters())


def test_kl_on_the_label_is_the_logarithm_of_a_ratio():
    rows, model = corpus(), network(0)
    made = loss("kl", kl={"over": "label", "weight": 0.1})
    value, gradients = step(Objective(made, Head.of(model), {"base": network(1)}), model, rows)
    wanted, _ = by_torch(network(0, "eager"), network(1, "eager"), rows, label, 0.1)
    assert value == pytest.approx(wanted, abs=2e-6)
    plain = network(0)
    _, alone = step(Objective(loss("sft"), Head.of(plain)), plain, rows)
    for name, gradient in alone.items():  # the base is a constant, so 1 - 0.1 of the plain gradient is left
        torch.testing.assert_close(gradients[name], 0.9 * gradient, atol=2e-6, rtol=1e-4, msg=name)


def test_nothing_diverges_from_the_base_at_the_base():
    rows, model = corpus(), network(0)
    plain, _ = step(Objective(loss("sft"), Head.of(model)), model, rows)
    for over in ("vocabulary", "label", "label_term"):
        made = loss("kl", kl={"over": over, "weight": 10.0})
        held, _ = step(Objective(made, Head.of(model), {"base": network(0)}), model, rows)
        assert held == pytest.approx(plain, abs=1e-5)


def test_an_empty_micro_batch_diverges_by_nothing_and_touches_every_parameter():
    from harness.train.microbatch import MicroBatch

    model = network(0)
    value = Objective(loss("kl"), Head.of(model), {"base": network(1)})(model, MicroBatch.of([], []), 1.0)
    value.backward()
    assert float(value.detach()) == 0.0
    assert all(parameter.grad is not None for parameter in model.parameters())


# --- l2_base -------------------------------------------------------------------------------------------------------


def test_l2_is_half_the_squared_distance_of_all_weights():
    rows, model, base = corpus(), network(0), network(1)
    made = loss("l2_base", l2_base={"weight": 0.3})
    found = step(Objective(made, Head.of(model), {"base": base}), model, rows)
    plain = network(0)
    value, gradients = step(Objective(loss("sft"), Head.of(plain)), plain, rows)
    theirs = dict(base.named_parameters())
    distance = sum(F.mse_loss(p, theirs[name], reduction="sum") for name, p in plain.named_parameters())
    wanted = {name: gradients[name] + 0.3 * (p - theirs[name]).detach() for name, p in plain.named_parameters()}
    same(found, (value + 0.15 * float(distance.detach()), wanted))


# --- composed ------------------------------------------------------------------------------------------------------


def test_they_compose_with_losses_strategies_and_each_other():
    from harness.train.microbatch import MicroBatch

    arm = bind(ArmSpec(("kl", "l2_base", "neftune", "im", "dmt")))
    assert [maker["plugin"].split()[0] for maker in arm.makers("loss_fn")] == ["im", "kl", "l2_base", "neftune"]
    made, im = arm.loss(), loss("im")
    batch = MicroBatch.of([np.zeros(4, np.int32)], [np.array([0, 1, 0, 2], np.uint8)])
    assert torch.equal(made.weights(batch), im.weights(batch))
    assert made.embed is not None
    assert made.penalty is not None
    assert made.references == ("base",)
    assert set(loss("kl", "ewc").references) == {"base", "fisher"}
    assert loss("kl", "dmt").per_token is not loss("dmt").per_token


def test_penalties_add_up():
    one, model, base = loss("l2_base", l2_base={"weight": 0.5}), network(0), network(1)
    twice = one.penalised(lambda _net, _refs: torch.tensor(2.5))
    assert twice.references == ("base",)
    alone = float(one.penalty(model, {"base": base}).detach())
    assert float(twice.penalty(model, {"base": base}).detach()) == pytest.approx(alone + 2.5)


@pytest.mark.parametrize("options", [{"kl": {"weight": -1}}, {"kl": {"over": "half"}}, {"l2_base": {"weight": -0.1}}])
def test_options_that_make_no_sense_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=name):
        bind(ArmSpec((name,), options))
