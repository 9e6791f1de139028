"""Training that goes wrong is stopped before a checkpoint takes it up, with the batch that did it on disk."""

from __future__ import annotations

import json
import math
import re
import textwrap
from dataclasses import replace

import psutil
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import Failure, UserError
from harness.train import badbatch
from harness.train.batches import by_examples
from harness.train.guard import PATIENCE, Divergence

STEPS = {"micro_tokens": 64, "checkpoint_steps": 3}
DIVERGING = {"lr": 5.0, "warmup": 1.0, "schedule": "constant", "epochs": 12}


PLACE = 100
"""Of the example that is poisoned, in the order in which the stage trains."""


def poisoned(loss, what=math.nan):
    """The loss, with a value that is no number for the last scored token of one example."""

    def per_token(model, batch, references):
        losses = loss.per_token(model, batch, references)
        if PLACE not in batch.draws.places:
            return losses
        here = batch.segments[0] == batch.draws.places.index(PLACE)
        place = torch.nonzero(here & (batch.weights[0] > 0))[-1]
        return losses.index_fill(1, place, what)

    return replace(loss, per_token=per_token)


@pytest.fixture
def bad(make):
    """The example that is poisoned: the name of its dataset, and itself."""
    examples = [(name, example) for name in make.long["mixture"] for example in make.sources[name].location.make()]
    return examples[by_examples(len(examples), PLACE + 1, seed=0)[PLACE]]


def step_of(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_loss_that_is_no_number_stops_the_stage_and_leaves_its_batch(make, stage, bad, tmp_path):
    undisturbed, whole = stage("whole", runtime=STEPS, **make.long)
    folder = tmp_path / "stage"
    for _ in range(2):  # run again, it goes on from the last good checkpoint and says the same
        with pytest.raises(Failure, match=r"the loss is nan at step \d+ \(lower train.lr, or look") as caught:
            stage(loss=poisoned(make.loss), runtime=STEPS, **make.long)
        why, examples = badbatch.read(folder / "bad_batch")
        step = why["step"]
        assert caught.value.problem == f"the loss is nan at step {step}" == why["problem"]
        assert f"harness data batch {folder / 'bad_batch'}" in caught.value.remedy
        assert why["loss"] == "nan"
        assert step_of(folder) == list(range(1, step))
        kept = [path.name for path in (folder / "checkpoints").glob("step-*")]
        assert max(kept) == f"step-{(step - 1) // 3 * 3:09d}"
    (found,) = [example for example in examples if example["not_finite"]]
    assert (found["dataset"], found["id"]) == (bad[0], bad[1].id)
    assert found["not_finite"] == [max(i for i, weight in enumerate(found["weights"]) if weight)]
    assert {one["micro_batch"] for one in examples} == {found["micro_batch"]}
    assert sum(one["tokens"] for one in examples) <= 64
    again, _ = stage(runtime=STEPS, **make.long)
    assert again["result"] == undisturbed["result"]
    assert not (folder / "bad_batch").exists()
    assert all(
        torch.equal(a, b) for a, b in zip(make.weights(folder).values(), make.weights(whole).values(), strict=True)
    )


def test_the_batch_can_be_read_by_people(stage, make, bad, tmp_path):
    with pytest.raises(Failure):
        stage(loss=poisoned(make.loss), runtime=STEPS, **make.long)
    shown = CliRunner().invoke(app, ["data", "batch", str(tmp_path / "stage" / "bad_batch"), "-n", "1"])
    assert shown.exit_code == 0
    what, numbers, held, _, _, head, *text = shown.output.splitlines()
    assert what.startswith("the loss is nan at step ")
    assert re.fullmatch(r"step \d+, loss nan, grad norm [a-z\d.]+, lr [\de.+-]+", numbers)
    assert re.fullmatch(r"\d examples of step \d+, 1 with a loss that is no number", held)
    assert re.fullmatch(rf"{bad[0]} {bad[1].id}, \d+ tokens, \d+ scored, nan at token \d+ \('.*'\), rank 0", head)
    asked, answered = bad[1].messages
    assert f"⟨{asked.content}⟩" in text
    assert any(line.startswith(f"⟦{answered.content}") for line in text)


def test_a_folder_without_a_batch_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no batch that ended a training"):
        badbatch.read(tmp_path)


def test_the_batch_is_what_was_trained_on(make, stage, tmp_path):
    with pytest.raises(Failure):
        stage(loss=poisoned(make.loss, math.inf), runtime=STEPS, **make.long)
    folder = tmp_path / "stage" / "bad_batch"
    _, examples = badbatch.read(folder)
    tensors = load_file(folder / "rank-0.safetensors")
    spans = list(zip(tensors["offsets"], tensors["offsets"][1:], strict=False))
    assert len(spans) == len(examples)
    conversations = {
        example.id: example for name in ("first", "second") for example in make.sources[name].location.make()
    }
    for (start, end), line in zip(spans, examples, strict=True):
        assert tensors["input_ids"][start:end].tolist() == line["ids"]
        assert ((tensors["weights"][start:end] > 0) == [part == "response" for part in line["parts"]]).all()
        for message in conversations[line["id"]].messages:
            assert message.content in line["text"]
        losses = tensors["losses"][start:end]
        assert (losses[tensors["weights"][start:end] == 0] == 0).all()
        assert (losses[tensors["weights"][start:end] > 0] > 0).all()
    assert math.isinf(tensors["losses"].max())


def test_a_gradient_that_is_no_number_stops_the_stage_while_the_loss_still_looks_well(make, stage, bad, tmp_path):
    def per_token(model, batch, references):
        losses = make.loss.per_token(model, batch, references)
        return losses + (losses * 0).sqrt() if PLACE in batch.draws.places else losses  # the slope of a root at 0

    with pytest.raises(Failure, match=r"the gradient norm is nan at step \d+, where the loss is \d"):
        stage(loss=replace(make.loss, per_token=per_token), runtime=STEPS, **make.long)
    _, examples = badbatch.read(tmp_path / "stage" / "bad_batch")
    assert (bad[0], bad[1].id) in [(one["dataset"], one["id"]) for one in examples]
    assert len(examples) == 8  # the whole step: no micro-batch is better than another


def test_a_loss_that_diverges_stops_the_stage_and_no_checkpoint_holds_the_divergence(stage, tmp_path):
    folder = tmp_path / "stage"
    for _ in range(2):
        with pytest.raises(Failure, match=r"the loss diverges: it is .* since step \d+"):
            stage(runtime=STEPS, **DIVERGING)
        why, examples = badbatch.read(folder / "bad_batch")
        began = why["batch_of_step"]
        assert why["step"] == began + PATIENCE - 1
        assert len(examples) == 8
        assert max(path.name for path in (folder / "checkpoints").glob("step-*")) < f"step-{began:09d}"


def test_a_divergence_can_be_watched_without_stopping(stage):
    outcome, folder = stage(runtime={**STEPS, "stop_on_divergence": False}, **DIVERGING)
    assert step_of(folder) == list(range(1, outcome["result"]["steps"] + 1))


def diverged_at(losses):
    rule = Divergence()
    return next((step for step, loss in enumerate(losses, 1) if rule.follow(loss)), None)


def test_ten_steps_far_above_the_lowest_median_and_the_first_loss_are_a_divergence():
    assert diverged_at([2.0] * 20 + [6.1] * 10) == 30
    assert diverged_at([2.0] * 20 + [6.1] * 9 + [2.0] + [6.1] * 9) is None
    assert diverged_at([2.0] * 20 + [5.9] * 30) is None
    assert diverged_at([5.0, 50.0, *[500.0] * 9]) == 11


def test_a_small_loss_may_rise_as_long_as_it_stays_below_the_first():
    assert diverged_at([5.0, 1.0, 0.1] + [0.01] * 50 + [0.4] * 30) is None


def test_a_slow_rise_is_one_too():
    assert 60 < diverged_at([1.02**step for step in range(300)]) < 75


POISON = """
    from dataclasses import replace
    from harness.api import Part, Plugin, hookimpl, token_loss

    PLUGIN = Plugin(name="poison", version="1.0", summary="SFT, with a value that is no number.")
    SFT = token_loss(lambda batch: batch.is_part(Part.RESPONSE))

    def per_token(model, batch, references):
        losses = SFT.per_token(model, batch, references)
        return losses * float("nan") if 20 in batch.draws.places else losses

    @hookimpl
    def loss_fn(arm):
        return replace(SFT, per_token=per_token)
"""


def running():
    """Ids of the processes that came of this one and have not ended."""
    return {one.pid for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.timeout(240)
def test_of_two_ranks_the_one_that_held_it_saves_it_and_both_end(make, tmp_path):
    (tmp_path / "poison.py").write_text(textwrap.dedent(POISON))
    stage = make.launched(tmp_path, *make.ranks_2, arm=str(tmp_path / "poison.py"))
    folder, before = tmp_path / "stage", running()
    with pytest.raises(Failure, match="the loss is nan at step 3"):
        stage.train(folder, checkpoint_steps=1)
    (held,) = (folder / "bad_batch").glob("rank-*.jsonl")
    why, examples = badbatch.read(folder / "bad_batch")
    assert why["step"] == 3
    assert {f"rank-{one['rank']}" for one in examples} == {held.stem}
    assert any(one["not_finite"] for one in examples)
    assert len(examples) < 8  # the other rank's were well
    assert max(path.name for path in (folder / "checkpoints").glob("step-*")) == "step-000000002"
    assert running() <= before
