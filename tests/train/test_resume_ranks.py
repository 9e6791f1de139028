"""A stage of several processes, killed with all of them, goes on as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import UserError

DROPOUT = "model.init.config.attention_dropout=0.1"
"""Draws random numbers at every step, so that a resumed run must restore their state."""


def steps_done(folder):
    metrics = folder / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def kill_everything(process):
    """SIGKILL for a process and all that it started, whatever sessions they lead."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()
    psutil.wait_procs(family[1:], timeout=30)


@pytest.fixture
def killed(make, tmp_path):
    """Starts a stage and kills it once so many steps are written down; returns the job's folder."""
    started = []

    def kill_after(steps, *settings):
        folder = tmp_path / "killed"
        script = Path(__file__).with_name("launched.py")
        process = subprocess.Popen([sys.executable, script, make.conftest, tmp_path, folder, *settings])
        started.append(process)
        until = time.monotonic() + 200
        while steps_done(folder) < steps:
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.002)
        kill_everything(process)
        return folder

    yield kill_after
    for process in started:
        if process.poll() is None:
            kill_everything(process)


def check_resume(make, killed, root, *settings):
    settings = (DROPOUT, *make.ranks_2, *settings)
    stage, whole = make.launched(root, *settings), root / "whole"
    outcome = stage.train(whole, checkpoint_steps=3)
    folder = killed(random.randrange(4, 17), *settings)
    assert list((folder / "checkpoints").glob("step-*"))
    with pytest.raises(
        UserError, match=r"by 2 processes with.*, and this run has 1 process without DeepSpeed.*processes=2"
    ):
        make.launched(root, DROPOUT).train(folder)
    resumed = stage.train(folder, checkpoint_steps=3)
    assert resumed["result"] == outcome["result"]
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for path in sorted((whole / "model").iterdir()):
        assert (folder / "model" / path.name).read_bytes() == path.read_bytes(), path


@pytest.mark.timeout(400)
def test_two_processes_killed_at_any_step_go_on_bit_for_bit(make, killed, tmp_path):
    check_resume(make, killed, tmp_path, "train.deepspeed=zero2")


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharding", ["none", "zero0", "zero1", "zero3"])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_whatever_is_sharded_and_laid_out_goes_on_bit_for_bit(make, killed, tmp_path, sharding, layout):
    deepspeed = () if sharding == "none" else (f"train.deepspeed={sharding}",)
    check_resume(make, killed, tmp_path, *deepspeed, f"train.layout={layout}")


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharding", [(), ("train.deepspeed=zero0",)])
def test_in_bfloat16_too_a_stage_goes_on_bit_for_bit(make, killed, tmp_path, sharding):
    check_resume(make, killed, tmp_path, "train.dtype=bfloat16", *sharding)


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_a_stage_goes_on_in_other_micro_batches(make, killed, tmp_path, sharding):
    settings = (*make.ranks_2, f"train.deepspeed={sharding}")
    make.launched(tmp_path).train(tmp_path / "whole")
    folder = killed(9, *settings)
    make.launched(tmp_path, *settings, "train.layout=grouped").train(folder, micro_tokens=600)
    ours, wanted = make.weights(folder), make.weights(tmp_path / "whole")
    assert max(float((ours[name] - wanted[name]).abs().max()) for name in wanted) < 1e-5
