"""The Fisher information against gradients taken one example at a time in plain torch, and EWC on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from harness.api import Part
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.errors import UserError
from harness.jobs import EstimateFisher
from harness.store import Store
from harness.testing import run_tiny
from harness.testing.tiny import TINY_RECIPE


@pytest.fixture
def estimated(make, base, tmp_path):
    """The outcome of a job and the folder of the information it left."""
    from harness.train.fisher import estimate

    def run(*names, max_length=64, layout="packed", **more):
        declared = EstimateFisher(items=tuple(map(make.item, names)), max_length=max_length, **more)
        context = make.context(tmp_path / layout, parents={"model": base}, execution={"layout": layout})
        return estimate(declared, make.sources, base / "model", context), tmp_path / layout

    return run


def by_torch(make, base, name, max_length):
    """Squared gradients of each example's log-likelihood, summed, over the scored tokens of all; and both numbers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.data.chat import Renderer

    model = AutoModelForCausalLM.from_pretrained(base / "model").eval()
    renderer = Renderer(AutoTokenizer.from_pretrained(base / "model"))
    names, parameters = zip(*model.named_parameters(), strict=True)
    squares, scores = [torch.zeros_like(parameter) for parameter in parameters], []
    for example in make.sources[name].location.make():
        rendered = renderer.render(example)
        ids = torch.tensor([rendered.ids[:max_length]])
        scored = (torch.tensor(rendered.parts[:max_length]) == Part.RESPONSE)[1:]
        losses = F.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        gradients = torch.autograd.grad(losses[scored].sum(), parameters)
        squares = [square + gradient.square() for square, gradient in zip(squares, gradients, strict=True)]
        scores.append(int(scored.sum()))
    found = dict(zip(names, (square / sum(scores) for square in squares), strict=True))
    return found, {"examples": sum(score > 0 for score in scores), "tokens": sum(scores)}


@pytest.mark.parametrize("layout", ["packed", "grouped"])
def test_the_information_is_the_mean_of_squared_gradients(make, base, estimated, layout):
    outcome, folder = estimated("first", max_length=24, layout=layout)
    wanted, result = by_torch(make, base, "first", 24)
    found = make.weights(folder)
    assert outcome["result"] == result
    assert result["examples"] < 40  # some have no response left
    assert found.keys() >= wanted.keys() - {"lm_head.weight"}
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, wanted[name], atol=1e-7, rtol=1e-4, msg=name)
    assert max(float(tensor.max()) for tensor in found.values()) > 1e-3


def test_labels_can_be_drawn_from_the_model(make, base, estimated):
    """Of one example, whose draws are made once more here."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.data.chat import Renderer

    outcome, folder = estimated("first", labels="sampled", examples=1, seed=4)
    assert outcome["result"]["examples"] == 1
    examples = list(make.sources["first"].location.make())
    place = int(np.random.Generator(np.random.PCG64(4)).permutation(len(examples))[0])
    rendered = Renderer(AutoTokenizer.from_pretrained(base / "model")).render(examples[place])
    scored = (torch.tensor(rendered.parts) == Part.RESPONSE)[1:]
    model = AutoModelForCausalLM.from_pretrained(base / "model").eval()
    logits = model(torch.tensor([rendered.ids])).logits[0, :-1][scored]
    drawn = logits.detach().softmax(-1).multinomial(1, generator=torch.Generator().manual_seed(4))[:, 0]
    assert not torch.equal(drawn, torch.tensor(rendered.ids)[1:][scored])
    F.cross_entropy(logits, drawn, reduction="sum").backward()
    found = make.weights(folder)
    for name, parameter in model.named_parameters():
        if name in found:
            wanted = parameter.grad.square() / int(scored.sum())
            torch.testing.assert_close(found[name], wanted, atol=1e-6, rtol=1e-3, msg=name)


def test_as_many_examples_as_are_asked_for(estimated):
    assert estimated("first", examples=7)[0]["result"]["examples"] == 7


def test_data_of_which_nothing_is_scored_is_refused(estimated):
    with pytest.raises(UserError, match="no scored token to be estimated on"):
        estimated("first", max_length=1)


def linear(weight, bias):
    made = torch.nn.Linear(2, 1)
    made.weight.data, made.bias.data = torch.tensor([weight]), torch.tensor([bias])
    return made


def test_the_penalty_weighs_each_distance_by_its_information():
    network, base, fisher = (torch.nn.Linear(2, 1) for _ in range(3))
    for module, weight, bias in (
        (network, [[1.0, 4.0]], [2.0]),
        (base, [[0.0, 1.0]], [2.5]),
        (fisher, [[0.5, 2.0]], [8.0]),
    ):
        module.weight.data, module.bias.data = torch.tensor(weight), torch.tensor(bias)
    loss = bind(ArmSpec(("ewc", "im"), {"ewc": {"weight": 3.0, "examples": 9}})).loss()
    assert loss.references == ("base", "fisher")
    assert (loss.fisher.role, loss.fisher.examples) == ("pretraining", 9)
    value = loss.penalty(network, {"base": base, "fisher": fisher})
    assert float(value.detach()) == pytest.approx(1.5 * (0.5 * 1 + 2 * 9 + 8 * 0.25))
    value.backward()
    assert network.weight.grad.tolist() == [[pytest.approx(1.5), pytest.approx(18.0)]]
    assert network.bias.grad.tolist() == [pytest.approx(-12.0)]


def test_a_run_estimates_once_for_all_stages(tmp_path):
    texts = tmp_path / "web.jsonl"
    texts.write_text("".join(f'{{"text": "Page {i} tells of {i} boats."}}\n' for i in range(30)))
    data = {**TINY_RECIPE["data"], "pretraining": {"source": str(texts), "columns": {"kind": "text"}}}
    arms = ["ewc:examples=12,dmt", "ewc:examples=12,kl,im"]
    run_tiny(arms, tmp_path, settings=[f"data={data}"])
    manifests = [entry.manifest for entry in Store(tmp_path / "store").entries()]
    (fisher,) = (of for of in manifests if of["kind"] == "fisher")
    assert fisher["result"]["examples"] == 12
    trained = {of["label"]: of["parents"] for of in manifests if of["kind"] == "train"}
    assert len(trained) == 4
    for label, parents in trained.items():
        assert parents.get("fisher") == (None if label.startswith("sft") else fisher["key"])
