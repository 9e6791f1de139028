"""A stage to launch, and the real processes of its launch, found and waited for."""

import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness.context import Context
from harness.data.resolve import Places
from harness.execution import Execution


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny model to start from: the folder that holds `model/`."""
    from harness.testing.tiny import tiny_model

    return tiny_model(tmp_path_factory.mktemp("start")).parent


@dataclass
class Stage:
    """One training stage of the tiny recipe, in a store of its own; `launch` is what a worker calls for it."""

    store: Path
    model: Path
    plugin: str = "sft"
    label: str = "sft: train all (seed 0)"

    @property
    def folder(self):
        return self.store / "partial" / "stage"

    @property
    def ranks(self):
        return self.folder / "ranks"

    def job(self, execution):
        from harness.planner import build, choose_arms
        from harness.recipe import load
        from harness.settings import Setting
        from harness.testing.tiny import tiny_recipe

        given = execution.model_dump(exclude_unset=True)
        settings = [Setting.parse(f"train.{name}={value}") for name, value in given.items()]
        recipe = load(str(tiny_recipe(self.store / "recipe")), settings, [self.plugin])
        arms = choose_arms(recipe, [self.plugin], settings, baseline=False, factorial=False)
        plan = build(recipe, arms, Places(None, self.store / "cache"))
        return next(job for job in plan.jobs.values() if job.kind == "train")

    def launch(self, execution, **runtime):
        from harness.launch.supervisor import launch

        self.folder.mkdir(parents=True, exist_ok=True)
        runtime = {"threads": 2, "micro_tokens": 4096, "checkpoint_seconds": 1000, **runtime}
        context = Context(self.folder, {"start": self.model}, runtime, lambda _: None, execution)
        return launch(self.job(execution), Places(None, self.store / "cache"), context)

    def begin(self, execution, **runtime):
        """Launch it in the background."""
        return Launching(self, execution, runtime)

    def events(self, kind=None):
        """What the supervisor has heard so far."""
        path = self.ranks / "events.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [event for event in map(json.loads, lines) if kind in {None, event["event"]}]

    def started(self, count):
        """Wait until so many ranks have started; returns what they said, by rank."""
        wait_for(lambda: len(self.events("started")) == count, self.events)
        return sorted(self.events("started"), key=lambda event: event["rank"])


class Launching(threading.Thread):
    """A launch in the background, and what it raised."""

    def __init__(self, stage, execution, runtime):
        super().__init__()
        self.stage, self.execution, self.runtime = stage, execution, runtime
        self.raised = self.outcome = None
        self.start()

    def run(self):
        try:
            self.outcome = self.stage.launch(self.execution, **self.runtime)
        except Exception as error:  # noqa: BLE001 -- for the test to look at
            self.raised = error

    def end(self):
        """Wait for it; returns what it raised, as one line."""
        self.join(timeout=200)
        assert not self.is_alive()
        assert left_of(self.stage.folder) == []
        return str(self.raised) if self.raised else None


def wait_for(condition, told=lambda: "nothing came", seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


def left_of(folder, seconds=15):
    """Launchers and ranks of the folder's order that are still there after a while; all of them name its file."""
    end = time.monotonic() + seconds
    while (found := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def processes_of(folder):
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            named = any(word.startswith(f"{folder}/") and word.endswith("/launch.json") for word in words)
            if named and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session")
def launches():
    """How tests find the processes of launches, and wait."""
    return SimpleNamespace(wait_for=wait_for, left_of=left_of, processes_of=processes_of)


@pytest.fixture
def stage(model, tmp_path):
    return Stage(tmp_path / "store", model)


@pytest.fixture
def another(model, tmp_path):
    return Stage(tmp_path / "another", model)


@pytest.fixture
def odd(tmp_path):
    """Writes a loss with which rank 1 does something in the middle of its training: `odd("os.abort()")`."""

    def write(body):
        path = tmp_path / "odd.py"
        path.write_text(f"""
import os, signal, subprocess
from harness.api import Loss, Part, Plugin, hookimpl, nll

PLUGIN = Plugin(name="odd", version="1.0", summary="A loss that does odd things.")
calls = 0

def per_token(model, batch, references):
    global calls
    calls += 1
    if os.environ["RANK"] == "1" and calls == 8:
        {body}
    return nll(model, batch, references)

@hookimpl
def loss_fn():
    return Loss(weights=lambda batch: batch.is_part(Part.RESPONSE), per_token=per_token)
""")
        return str(path)

    return write


@pytest.fixture
def two_nodes():
    """The execution of a stage on two nodes of one process each, which meet on this machine."""

    def execution(launcher="torchrun", **more):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return Execution(launcher=launcher, nodes=2, rendezvous=f"127.0.0.1:{port}", **more)

    return execution


@pytest.fixture
def second_node(command, stage):
    """Starts `harness node 1` over the stage's store: `second_node("--once")`."""
    started = []

    def start(*options):
        process = command("node", "1", "--store", stage.store, *options, cwd=stage.store.parent)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        with process:  # closes its pipes
            pass
