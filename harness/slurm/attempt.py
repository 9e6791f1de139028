"""What runs in an allocation: one job of the plan, in a worker, until it is done or the allocation ends.

The process that submitit starts supervises the worker. It leaves the latest news of the job in its submission folder,
for whoever follows the run, and answers the signal that SLURM sends before the end: a checkpoint, then back into the
queue. All that the job needs to go on lies in the store.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.canonical import Json, canonical
from harness.credentials import server_of, withheld
from harness.errors import Failure
from harness.processes import how_it_ended

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_NEWS = "news.json"
_ATTEMPTS = "attempts.jsonl"
_NEWS_SECONDS = 2.0
"""Between two writings of progress: a cluster's file system serves many."""
_LOOK_SECONDS = 0.5
_FIRST_PORT, _PORTS = 10_000, 20_000
"""Of the rendezvous: below those that systems hand out by themselves, and another one for each SLURM job."""
_REQUEST = "checkpoints/wanted"
"""What asks a stage for a checkpoint; gone when it is written."""
_TRACES = ("checkpoints/step-*", "responses.jsonl")
"""What a job writes only when it gets further."""


def news(folder: Path) -> dict[str, Any]:
    """The latest of a job's attempt: `slurm` (its id), `attempt`, `notices` so far, `event` and what belongs to it."""
    try:
        said: dict[str, Any] = json.loads((folder / _NEWS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return said


@dataclass
class Attempt:
    """One job of a plan as it is sent to the cluster: plain values, for it is pickled and read in another process."""

    job: Mapping[str, Json]
    """The fields of the `harness.jobs.Job`."""
    hello: Mapping[str, Json]
    """What its worker is told of places and runtime."""
    folder: str
    """The job's submission folder."""
    partial: str
    """The job's folder while it is unfinished."""
    attempts: int
    """So many of them without getting further are enough."""
    patience: float
    """Seconds that a stage has for a last checkpoint."""
    _worker: subprocess.Popen[str] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> None:
        """Do the job. Raises Failure where it fails, so that SLURM never starts what stands on it."""
        import submitit

        withhold_keys(self.job)
        here = submitit.JobEnvironment()
        slurm = here.job_id
        if here.node > 0:
            self._take_part(slurm, here.node)
            return
        resumed = Path(self.partial).is_dir()
        number, stalled = self._begin(slurm)
        said: dict[str, Any] = {"slurm": slurm, "attempt": number, "resumed": resumed, "notices": []}
        self._tell({**said, "event": "started"})
        if stalled:
            raise self._failure(
                said,
                f"{self.job['label']} got no further in {self.attempts} attempt{'s' * (self.attempts > 1)}",
                "give each more time with slurm.hours, or lower runtime.checkpoint_seconds",
            )
        told = time.monotonic()
        job = self.job if here.num_nodes == 1 else _meeting(self.job, slurm)
        for event in self._events(job):
            if event["event"] == "notice":
                said["notices"].append(event["text"])
            elif event["event"] != "progress" or time.monotonic() - told >= _NEWS_SECONDS:
                told = time.monotonic()
                self._tell({**said, **event})
            if event["event"] == "failed":
                raise Failure(event["problem"], event["remedy"])
            if event["event"] == "done":
                self._end()
                return
        raise self._failure(
            said,
            f"{self.job['label']}: its worker {how_it_ended(self._end())}",
            "if memory ran out, ask for more with slurm.memory_gib, or lower runtime.micro_tokens",
        )

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when SLURM is about to end the allocation: what is done again when it has another one."""
        from submitit.helpers import DelayedSubmission

        if self._worker is not None:
            if self.job["kind"] == "train":
                self._wait_for_checkpoint(self._worker)
            self._worker.kill()
            self._worker.wait()
        return DelayedSubmission(replace(self))

    def _wait_for_checkpoint(self, worker: subprocess.Popen[str]) -> None:
        """Ask for one, and give it what time there is."""
        request, until = Path(self.partial) / _REQUEST, time.monotonic() + self.patience
        if request.parent.is_dir():
            request.touch()
        while request.exists() and worker.poll() is None and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def _begin(self, slurm: str) -> tuple[int, bool]:
        """Note that another attempt begins, and from where; its number, and whether too many began there."""
        path = Path(self.folder) / _ATTEMPTS
        lines = path.read_text().splitlines() if path.is_file() else []
        earlier = [at["reached"] for at in map(json.loads, lines) if at["slurm"] == slurm]
        reached = _reached(Path(self.partial))
        with path.open("a", encoding="utf-8") as file:
            file.write(canonical({"slurm": slurm, "reached": reached}) + "\n")
        here = sum(1 for _ in takewhile(lambda at: at == reached, reversed(earlier)))
        return len(earlier) + 1, here >= self.attempts

    def _failure(self, said: Mapping[str, Json], problem: str, remedy: str) -> Failure:
        self._tell({**said, "event": "failed", "problem": problem, "remedy": remedy, "exit_code": Failure.exit_code})
        return Failure(problem, remedy)

    def _tell(self, said: Mapping[str, Json]) -> None:
        path = Path(self.folder) / _NEWS
        new = path.with_suffix(".new")
        new.write_text(canonical(said), encoding="utf-8")
        new.replace(path)

    def _take_part(self, slurm: str, node: int) -> None:
        """On another node than the first: start this node's ranks of whatever the first launches, until it is over."""
        from harness.launch.node import join
        from harness.launch.order import FILE
        from harness.store import Store

        _hold_back_the_warning()
        order, store = Path(self.partial) / FILE, Store(Path(self.hello["store"]))
        while not store.has(order.parent.name) and not self._has_failed(slurm):
            with suppress(OSError):  # there is no launch yet, or no longer
                join(order, node)
            time.sleep(_LOOK_SECONDS)

    def _has_failed(self, slurm: str) -> bool:
        said = news(Path(self.folder))
        return said.get("slurm") == slurm and said["event"] == "failed"

    def _events(self, job: Mapping[str, Json]) -> Iterator[dict[str, Any]]:
        """What the worker says, until it ends."""
        from harness.crew import environment

        runtime = {**self.hello["runtime"]}
        runtime["threads"] = runtime["threads"] or len(os.sched_getaffinity(0))
        self._worker = worker = self._start(environment(runtime["threads"]))
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(canonical({**self.hello, "runtime": runtime}) + "\n" + canonical({"jobs": [job]}) + "\n")
        worker.stdin.flush()
        yield from map(json.loads, worker.stdout)

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        warning = _hold_back_the_warning()
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, warning)

    def _end(self) -> int:
        """Let the worker end; its exit code."""
        assert self._worker is not None
        for pipe in (self._worker.stdin, self._worker.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return self._worker.wait()


def withhold_keys(job: Mapping[str, Any]) -> None:
    """Take keys out of this process's environment, and of all that it starts, but that of whom the job talks to."""
    for variable in withheld(job["payload"]["recipe"], server_of(job["declared"])):
        os.environ.pop(variable, None)


def _reached(partial: Path) -> list[str]:
    """How far the job is, told by what it has written."""
    found = (path for pattern in _TRACES for path in partial.glob(pattern))
    return sorted(f"{path.name} {path.stat().st_size}" for path in found)


def _hold_back_the_warning() -> set[int]:
    """Block the signal that announces the end, here and in what is started from here; returns it.

    On some clusters it reaches every process of the job, and would kill them: only the supervisor waits for it.
    """
    import submitit

    warning = {int(submitit.JobEnvironment._usr_sig())}  # noqa: SLF001 (submitit names it nowhere else)
    signal.pthread_sigmask(signal.SIG_BLOCK, warning)
    return warning


def _meeting(job: Mapping[str, Json], slurm: str) -> dict[str, Json]:
    """The job with a place where the nodes of this allocation meet: this one, unless the recipe names another."""
    recipe = job["payload"]["recipe"]
    place = recipe["train"]["rendezvous"] or f"{platform.node()}:{_FIRST_PORT + int(slurm) % _PORTS}"
    train = {**recipe["train"], "rendezvous": place}
    return {**job, "payload": {**job["payload"], "recipe": {**recipe, "train": train}}}
