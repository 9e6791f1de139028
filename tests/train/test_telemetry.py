"""Curves as TensorBoard, Weights & Biases and Trackio themselves read them back."""

from __future__ import annotations

import struct

import pytest

from harness.train import telemetry
from harness.train.telemetry import CURVES, Telemetry

KEY = "0123456789abcdef0123456789abcdef01234567"


def numbers(step):
    return {"loss": 10.0 - step, "mfu": None}


@pytest.fixture
def follow(tmp_path):
    """Follows the steps `first` to `last` of a stage in an attempt of its own; returns what was said."""

    def attempt(choice, first, last, *, folder="ab12" * 16):
        said = []
        job = tmp_path / folder
        job.mkdir(exist_ok=True)
        one = Telemetry(choice, job, said.append, label="sft: train all (seed 0)", project="tiny")
        one.start(first - 1)
        for step in range(first, last + 1):
            one.log(step, numbers(step))
        one.close()
        return said

    return attempt


def curve(folder):
    """The loss as TensorBoard shows it: steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def test_tensorboard_shows_every_step(follow, tmp_path):
    assert follow("tensorboard", 1, 4) == []
    assert curve(tmp_path / ("ab12" * 16) / CURVES) == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]


def test_a_resumed_stage_has_every_step_once(follow, tmp_path):
    """Killed after step 7 with a checkpoint at 4; then again after 6, with none."""
    follow("auto", 1, 7)
    folder = tmp_path / ("ab12" * 16) / CURVES
    torn = next(folder.iterdir())
    torn.write_bytes(torn.read_bytes()[:-3])
    follow("auto", 5, 6)
    assert [step for step, _ in curve(folder)] == [1, 2, 3, 4, 5, 6]
    follow("auto", 1, 3)
    assert [step for step, _ in curve(folder)] == [1, 2, 3]


def test_tensorboard_that_is_not_installed_is_missed_once_and_by_default_only(follow, monkeypatch):
    monkeypatch.setattr(telemetry, "find_spec", lambda _: None)
    (said,) = follow("auto", 1, 2)
    assert said.startswith("TensorBoard is not installed, so training curves stand in metrics.jsonl alone (pip ")
    assert follow("none", 1, 2) == []


def test_a_full_disk_ends_the_curves_and_not_the_training(mounted):
    said = []
    one = Telemetry("tensorboard", mounted("size=16k"), said.append)
    one.start(0)
    for step in range(1, 2000):
        one.log(step, numbers(step))
    one.close()
    assert len(said) == 1
    assert "TensorBoard follows this stage no further: [Errno 28] No space left on device; training goes on" in said[0]


def test_weights_and_biases_offline_is_gone_on_with_and_never_writes_the_key_down(follow, tmp_path, monkeypatch, capfd):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert follow("wandb", 1, 5) == []
    assert follow("wandb", 4, 8) == []
    wandb.teardown()
    runs = sorted((tmp_path / ("ab12" * 16) / CURVES / "wandb").glob("offline-run-*/*.wandb"))
    assert {run.name for run in runs} == {"run-ab12ab12ab12.wandb"}
    assert [step for run in runs for step in steps_in(run)] == [1, 2, 3, 4, 5, 6, 7, 8]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())


def steps_in(run):
    """The steps that an offline run holds: LevelDB's log format after a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, steps, parts = run.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += 7
        parts, at = parts + data[at : at + length], at + length
        if kind in (1, 4):  # whole, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            if record.HasField("history"):
                steps.append(record.history.step.num)
    return steps


def test_trackio_is_gone_on_with(follow, tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    from trackio import sqlite_storage, utils

    for module in (sqlite_storage, utils):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    assert follow("trackio", 1, 5) == []
    assert follow("trackio", 4, 8) == []
    rows = sqlite_storage.SQLiteStorage.get_logs("tiny", "sft: train all (seed 0) ab12ab12ab12")
    assert [(row["step"], row["loss"]) for row in rows] == [(step, 10.0 - step) for step in range(1, 9)]


def test_a_tracker_that_cannot_begin_says_why_and_never_the_key(follow, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", f"no-mode-{KEY}")
    (said,) = follow("wandb", 1, 3)
    assert said.startswith("Weights & Biases follows this stage no further: ")
    assert KEY not in said
