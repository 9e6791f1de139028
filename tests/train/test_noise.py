"""Training on noisy embeddings: the same in every layout, on every number of processes, and after a resume."""

from __future__ import annotations

import json

import pytest
import torch

from harness.arms import bind
from harness.armspec import ArmSpec

TWENTY_STEPS = {"mixture": ("first", "second"), "epochs": 2.5, "lr": 3e-3}


@pytest.fixture
def neftune():
    return bind(ArmSpec(("neftune",), {"neftune": {"alpha": 15}})).loss()


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_layouts_and_micro_batches_train_alike(make, stage, neftune):
    wanted = stage("wanted", loss=neftune, **TWENTY_STEPS)[1]
    clean = stage("clean", **TWENTY_STEPS)[1]
    assert losses(wanted)[-1] > losses(clean)[-1] + 0.01
    for layout, micro_tokens in [("packed", 50), ("grouped", 200), ("padded", 90)]:
        name = f"{layout}-{micro_tokens}"
        _, folder = stage(name, loss=neftune, layout=layout, runtime={"micro_tokens": micro_tokens}, **TWENTY_STEPS)
        assert losses(folder) == pytest.approx(losses(wanted), abs=1e-5)
        for tensor, other in zip(make.weights(folder).values(), make.weights(wanted).values(), strict=True):
            torch.testing.assert_close(tensor, other, atol=2e-5, rtol=0)


class StoppedError(Exception):
    """Stands for whatever ends an attempt half-way."""


def test_a_stopped_stage_goes_on_bit_for_bit(make, stage, neftune, monkeypatch):
    def stop(progress):
        if progress.unit == "step" and progress.done >= 8:
            raise StoppedError

    monkeypatch.setattr("harness.train.report._BETWEEN_REPORTS", 0.0)
    whole = stage("whole", loss=neftune, runtime={"checkpoint_steps": 3}, **TWENTY_STEPS)[1]
    with pytest.raises(StoppedError):
        stage("stopped", loss=neftune, runtime={"checkpoint_steps": 3}, progress=stop, **TWENTY_STEPS)
    stopped = stage("stopped", loss=neftune, runtime={"checkpoint_steps": 3}, **TWENTY_STEPS)[1]
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for name, tensor in make.weights(stopped).items():
        assert torch.equal(tensor, make.weights(whole)[name])


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "settings",
    [
        ("train.deepspeed=zero3",),
        pytest.param((), marks=pytest.mark.soak),
        pytest.param(("train.deepspeed=zero3", "train.layout=grouped"), marks=pytest.mark.soak),
    ],
)
def test_two_processes_train_as_one(make, tmp_path, settings):
    noisy = "neftune,im"
    make.launched(tmp_path, arm=noisy).train(tmp_path / "one")
    make.launched(tmp_path, *make.ranks_2, *settings, arm=noisy).train(tmp_path / "two", micro_tokens=100)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    for tensor, other in zip(
        make.weights(tmp_path / "two").values(), make.weights(tmp_path / "one").values(), strict=True
    ):
        torch.testing.assert_close(tensor, other, atol=1e-5, rtol=0)
