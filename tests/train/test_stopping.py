"""Early stopping: what is held out, when it is looked at, which model is kept; resumed, launched, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from harness.api import EarlyStopping, Part
from harness.errors import UserError
from harness.train.corpus import Corpus
from harness.train.stopping import best_step, held_out, looks

OFTEN = {"held_out": "1/5", "evaluations": 2, "patience": 2}


def corpus(names):
    """One token an example, called by these names."""
    n = len(names)
    return Corpus(
        ids=np.zeros(n, np.int32),
        parts=np.full(n, Part.RESPONSE, np.uint8),
        weights=np.ones(n, np.float32),
        offsets=np.arange(n + 1),
        dataset=np.zeros(n, np.int32),
        names=("made",),
        example_ids=names,
    )


# --- what is held out, and when it is looked at --------------------------------------------------------------------


@given(n=st.integers(2, 60), share=st.fractions(0, 1), order=st.randoms(use_true_random=False))
def test_what_is_held_out_depends_on_names_alone(n, share, order):
    names = [f"e{i}" for i in range(n)]
    size = max(1, int(share * n))
    if size == n:
        with pytest.raises(UserError, match="leaves none to train on"):
            held_out(corpus(names), EarlyStopping(held_out=share))
        return
    found = held_out(corpus(names), EarlyStopping(held_out=share))
    assert len(set(found.tolist())) == len(found) == size
    assert (np.diff(found) > 0).all()
    shuffled = order.sample(names, n)
    again = held_out(corpus(shuffled), EarlyStopping(held_out=share))
    assert {shuffled[i] for i in again} == {names[i] for i in found}
    if size + 1 < n:
        more = held_out(corpus(names), EarlyStopping(held_out=(size + 1) / n + 1e-9))
        assert set(found) < set(more)


def test_looks_are_spread_over_each_epoch_and_the_last_step_is_one():
    assert looks(10, per_epoch=5.0, evaluations=2) == {3, 5, 8, 10}
    assert looks(7, per_epoch=4.0, evaluations=4) == {1, 2, 3, 4, 5, 6, 7}
    assert looks(3, per_epoch=10.0, evaluations=1) == {3}
    assert looks(10, per_epoch=0.5, evaluations=4) == set(range(1, 11))


def test_the_best_step_is_the_first_with_the_lowest_loss_that_is_a_number():
    assert best_step({1: 2.0, 2: 1.0, 3: 1.0, 4: float("nan")}) == 2
    assert best_step({1: float("nan"), 2: float("inf")}) == 0
    assert best_step({}) == 0


# --- a stage -------------------------------------------------------------------------------------------------------


def record(folder):
    return {
        line["step"]: line["loss"] for line in map(json.loads, (folder / "held_out.jsonl").read_text().splitlines())
    }


def loss_by_torch(make, folder, ids):
    """Mean loss over the responses' tokens of these examples, one at a time, by the model that the stage left."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.data.chat import Renderer

    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    renderer = Renderer(AutoTokenizer.from_pretrained(folder / "model"))
    examples = {example.id: example for example in make.sources["first"].location.make()}
    losses = []
    for id_ in ids:
        rendered = renderer.render(examples[id_])
        tokens, scored = torch.tensor([rendered.ids[:64]]), torch.tensor(rendered.parts[:64]) == Part.RESPONSE
        with torch.no_grad():
            logits = model(tokens).logits[0, :-1]
        losses.append(F.cross_entropy(logits, tokens[0, 1:], reduction="none")[scored[1:]])
    return float(torch.cat(losses).mean())


def held_out_ids(make):
    names = [example.id for example in make.sources["first"].location.make()]
    rows = corpus(names)
    found = held_out(Corpus(**{**vars(rows), "names": ("first",)}), EarlyStopping(**OFTEN))
    return [names[i] for i in found]


def test_the_model_that_is_left_is_the_one_that_did_best_on_what_was_held_out(make, stage):
    outcome, folder = stage(lr=3e-2, epochs=12, early_stopping=OFTEN)
    result, losses = outcome["result"], record(folder)
    told = result["early_stopping"]
    assert told == {
        "examples": 8,
        "best_step": min(losses, key=losses.get),
        "best_loss": min(losses.values()),
        "looks": len(losses),
    }
    assert sorted(losses) == list(range(2, 2 * len(losses) + 1, 2))  # 32 examples, 4 steps of 8 an epoch
    assert told["best_loss"] == pytest.approx(loss_by_torch(make, folder, held_out_ids(make)), abs=1e-5)
    assert told["best_loss"] < losses[max(losses)]
    assert result["steps"] == max(losses) < 12 * 4
    assert result["examples"] == 8 * result["steps"]
    assert result["datasets"]["first"]["examples"] == result["examples"]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == result["steps"]
    patience = [step for step in losses if step > told["best_step"]]
    assert len(patience) == OFTEN["patience"]


def test_a_patient_stage_trains_as_it_would_without_looking(make, stage):
    """Looking disturbs neither noise nor optimiser: the same stage, looked at more often, has the same losses."""
    patient = {**OFTEN, "patience": 1000}
    one, often = (
        stage(name, loss=make.noisy, epochs=3, early_stopping={**patient, "evaluations": evaluations})[1]
        for name, evaluations in (("once", 1), ("often", 4))
    )
    assert (one / "metrics.jsonl").read_bytes() == (often / "metrics.jsonl").read_bytes()
    assert len(record(one)) == 3
    assert record(one).items() <= record(often).items()


def test_a_stage_of_several_epochs_never_trains_on_what_it_holds_out(stage):
    outcome, _ = stage(epochs=2, early_stopping={**OFTEN, "patience": 1000})
    assert outcome["result"]["steps"] == 8
    assert outcome["result"]["examples"] == 64  # 40 examples without 8, twice


class StoppedError(Exception):
    """Stands for whatever ends an attempt half-way."""


@pytest.fixture
def every_step_told(monkeypatch):
    monkeypatch.setattr("harness.train.report._BETWEEN_REPORTS", 0.0)


@pytest.mark.parametrize("at", [5, 11, 14])
@pytest.mark.usefixtures("every_step_told")
def test_a_resumed_stage_ends_with_the_same_model(make, base, stage, tmp_path, at):
    from harness.train.job import train

    how = {"lr": 3e-2, "epochs": 12, "early_stopping": {**OFTEN, "patience": 3}}
    outcome, whole = stage("whole", loss=make.noisy, **how)
    assert outcome["result"]["steps"] > at

    def stop(progress):
        if progress.unit == "step" and progress.done >= at:
            raise StoppedError

    folder = tmp_path / "stopped"
    context = make.context(folder, parents={"start": base}, progress=stop, checkpoint_steps=4)
    with pytest.raises(StoppedError):
        train(make.declare(**how), make.sources, make.noisy, context)
    again, _ = stage("stopped", loss=make.noisy, **how)
    assert again["result"] == outcome["result"]
    for name in ("held_out.jsonl", "metrics.jsonl", "model/model.safetensors"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_stage_that_had_stopped_and_was_not_sealed_ends_alike(make, stage):
    how = {"lr": 3e-2, "epochs": 12, "early_stopping": OFTEN}
    outcome, folder = stage("unsealed", runtime={"checkpoint_steps": 1}, **how)
    first = make.weights(folder)
    again, _ = stage("unsealed", runtime={"checkpoint_steps": 1}, **how)
    assert again["result"] == outcome["result"]
    assert all(torch.equal(first[name], tensor) for name, tensor in make.weights(folder).items())


def test_adapters_are_kept_with_the_best_model(make, stage):
    pytest.importorskip("peft")
    outcome, folder = stage(lr=3e-2, epochs=2, early_stopping=OFTEN, lora={"rank": 4})
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    told = outcome["result"]["early_stopping"]["best_loss"]
    assert told == pytest.approx(loss_by_torch(make, folder, held_out_ids(make)), abs=1e-4)


# --- several processes ---------------------------------------------------------------------------------------------


@pytest.fixture
def launched(make, tmp_path):
    """The record and the result of a stage, trained in one process and in two."""

    def train(*settings):
        early = "train.early_stopping={held_out: 1/5, evaluations: 2, patience: 1}"
        found = []
        for name, execution in (("one", ()), ("two", (*make.ranks_2, *settings))):
            trained = make.launched(tmp_path, early, "train.epochs=2", *execution)
            found.append((trained.train(tmp_path / name, micro_tokens=300)["result"], tmp_path / name))
        return found

    return train


def compare(make, launched):
    (one, alone), (two, together) = launched
    assert two["steps"] == one["steps"]
    assert record(together) == pytest.approx(record(alone), abs=1e-5)
    ours, theirs = make.weights(together), make.weights(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-5


@pytest.mark.timeout(240)
def test_two_processes_stop_as_one(make, launched):
    compare(make, launched())


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_sharded_processes_stop_as_one(make, launched, sharding):
    compare(make, launched(f"train.deepspeed={sharding}"))


# --- refused -------------------------------------------------------------------------------------------------------


def test_a_stage_too_small_to_hold_anything_out(stage):
    with pytest.raises(UserError, match="holds 40 of 40 examples out, which leaves none to train on"):
        stage(early_stopping={"held_out": 1})


@pytest.mark.parametrize("settings", [{"patience": 0}, {"evaluations": 0}, {"held_out": 2}])
def test_settings_that_make_no_sense(make, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        make.declare(early_stopping=settings)
