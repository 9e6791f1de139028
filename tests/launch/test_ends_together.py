"""When a run ends, whatever the way, every launcher and rank that it started ends with it."""

import os
import signal

import psutil
import pytest

from harness.testing.tiny import tiny_recipe

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def run(command, tmp_path, launches):
    """Starts a run of two ranks by its command; returns it, its worker and its store, once both ranks are there."""
    started = []

    def start(launcher="torchrun"):
        settings = (f"train.launcher={launcher}", "train.processes=2", "runtime.threads=2")
        options = [option for setting in settings for option in ("--set", setting)]
        places = ("--store", tmp_path / "store", "--out", tmp_path / "run")
        process = command("run", tiny_recipe(tmp_path), "--no-baseline", "-p", "im", *options, *places, cwd=tmp_path)
        started.append(process)
        events = (tmp_path / "store" / "partial").glob
        launches.wait_for(
            lambda: sum(path.read_text().count('"started"') for path in events("*/ranks/events.jsonl")) == 2
        )
        (worker,) = psutil.Process(process.pid).children()
        return process, worker, tmp_path / "store"

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.mark.parametrize(
    ("launcher", "whom"),
    [
        ("torchrun", "run"),
        pytest.param("deepspeed", "run", marks=pytest.mark.soak),
        pytest.param("accelerate", "run", marks=pytest.mark.soak),
        pytest.param("deepspeed", "worker", marks=pytest.mark.soak),
        pytest.param("torchrun", "worker", marks=pytest.mark.soak),
    ],
)
def test_nothing_outlives_a_killed_supervisor(run, launches, launcher, whom):
    process, worker, store = run(launcher)
    assert len(launches.processes_of(store)) >= 5  # a launcher, and two guards with their trainers
    os.kill(process.pid if whom == "run" else worker.pid, signal.SIGKILL)
    assert launches.left_of(store) == []
    process.wait(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_nothing_outlives_a_run_that_is_stopped(run, launches, number):
    process, _, store = run()
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "harness: stopped; what is finished is kept, and the same command goes on from here"
    )
    assert launches.left_of(store) == []
