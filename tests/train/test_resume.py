from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.train.watch import Watch, Watcher
from harness.train.world import World


def start(make, base, folder, which):
    folder.mkdir(exist_ok=True)
    script = Path(__file__).with_name("killed.py")
    return subprocess.Popen([sys.executable, script, make.conftest, base, folder, which])


def steps_done(folder):
    metrics = folder / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def kill_after(process, folder, steps):
    """SIGKILL once so many steps are written down; fails the test if the process ends first."""
    until = time.monotonic() + 120
    while steps_done(folder) < steps:
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("which", ["noisy", pytest.param("pairs", marks=pytest.mark.soak)])
def test_a_run_killed_twice_equals_an_uninterrupted_one(make, base, stage, tmp_path, which):
    declared, loss = make.killed[which]
    outcome, whole = stage("whole", loss=loss, runtime={"micro_tokens": 64}, **declared)
    total = outcome["result"]["steps"]
    folder = tmp_path / "killed"
    first = random.randrange(5, total // 2)
    kill_after(start(make, base, folder, which), folder, first)
    assert list((folder / "checkpoints").glob("step-*"))
    kill_after(start(make, base, folder, which), folder, first + random.randrange(4, total // 3))
    assert not (folder / "model").exists()
    resumed, _ = stage("killed", loss=loss, runtime={"micro_tokens": 64}, **declared)
    assert resumed["result"] == outcome["result"]
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for part in ("model", "kept/0.2/model"):
        for path in sorted((whole / part).iterdir()):
            assert (folder / part / path.name).read_bytes() == path.read_bytes(), path


class StoppedError(Exception):
    """Stands for whatever ends an attempt half-way."""


@pytest.fixture
def stopped(make, base, tmp_path, monkeypatch):
    """A stage that was stopped after step 8, with checkpoints every 3 steps; returns its folder."""
    from harness.train.job import train

    def stop(progress):
        if progress.unit == "step" and progress.done >= 8:
            raise StoppedError

    monkeypatch.setattr("harness.train.report._BETWEEN_REPORTS", 0.0)
    folder = tmp_path / "stopped"
    context = make.context(folder, parents={"start": base}, progress=stop, checkpoint_steps=3, micro_tokens=64)
    with pytest.raises(StoppedError):
        train(make.declare(**make.long), make.sources, make.noisy, context)
    return folder


@pytest.mark.parametrize("damaged", [(6,), (6, 3)])
def test_damaged_checkpoints_cost_steps_and_nothing_else(make, stage, stopped, damaged):
    for step in damaged:
        (stopped / "checkpoints" / f"step-{step:09d}" / "optimizer.pt").write_bytes(b"torn")
    outcome, folder = stage("whole", loss=make.noisy, runtime={"micro_tokens": 64}, **make.long)
    again, _ = stage("stopped", loss=make.noisy, runtime={"micro_tokens": 64}, **make.long)
    assert again["result"] == outcome["result"]
    assert all(
        torch.equal(a, b) for a, b in zip(make.weights(folder).values(), make.weights(stopped).values(), strict=True)
    )


def test_a_resumed_stage_does_not_train_again_what_it_has(make, stage, stopped):
    seen = []
    stage(stopped.name, loss=make.noisy, runtime={"micro_tokens": 64}, progress=seen.append, **make.long)
    steps = [progress.done for progress in seen if progress.unit == "step"]
    assert min(steps) == 7


def test_a_stage_killed_before_it_was_sealed_trains_its_last_steps_alone(make, stage):
    seen, how = [], {"checkpoint_steps": 3, "micro_tokens": 64}
    outcome, _ = stage("unsealed", runtime=how, **make.long)
    again, _ = stage("unsealed", runtime=how, progress=seen.append, **make.long)
    assert again["result"] == outcome["result"]
    total = outcome["result"]["steps"]
    assert min(progress.done for progress in seen if progress.unit == "step") == (total - 1) // 3 * 3 + 1


def test_a_stage_begun_anew_is_flagged_however_often_it_was_killed_since(make, base, stage, stopped):
    from harness.train.job import train

    seen = []

    def stop(progress):
        seen.append(progress.done)
        if progress.unit == "step" and progress.done >= 5:
            raise StoppedError

    how = {"checkpoint_steps": 3, "micro_tokens": 64}
    anew = make.context(stopped, parents={"start": base}, progress=stop, restart_stage=True, **how)
    with pytest.raises(StoppedError):
        train(make.declare(**make.long), make.sources, make.noisy, anew)
    assert 1 in seen
    outcome, _ = stage("stopped", loss=make.noisy, runtime=how, **make.long)
    assert outcome["measured"]["restarted"]
    whole, _ = stage("whole", loss=make.noisy, runtime=how, **make.long)
    assert "restarted" not in whole["measured"]
    assert whole["result"] == outcome["result"]


def test_a_checkpoint_that_takes_long_to_write_is_written_less_often(monkeypatch):
    now = 0.0
    monkeypatch.setattr("harness.train.watch.time.monotonic", lambda: now)
    watcher = Watcher(Watch(seconds=60), World())

    def due_at(moment):
        nonlocal now
        now = moment
        state, control = SimpleNamespace(global_step=1, max_steps=9), SimpleNamespace()
        return watcher.on_step_end(None, state, control).should_save

    assert not due_at(59)
    assert due_at(61)
    now = 91
    watcher.on_save(None, None, None)
    assert not due_at(91 + 299)
    assert due_at(91 + 301)
