"""The story of a run: take a plan, do what the store does not hold yet, in worker processes, and stop well.

A job is ready when its parents are finished. Ready jobs go to idle workers of their lane; a worker stays for the next
job, so that what it has imported and loaded is paid for once.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from harness.canonical import canonical
from harness.context import Progress
from harness.data.resolve import Places
from harness.discovery import load_plugin
from harness.engines.pool import require
from harness.errors import Failure, HarnessError, UserError
from harness.files import explained
from harness.jobs import Job
from harness.plan import Plan
from harness.recipe import Runtime
from harness.store import SHORT, Store


class Reporter(Protocol):
    """Who tells the user what happens."""

    def started(self, job: Job, *, resumed: bool) -> None:
        """A worker took the job; `resumed` where an earlier attempt left something."""

    def progressed(self, job: Job, progress: Progress) -> None:
        """The job is so far."""

    def finished(self, job: Job, seconds: float) -> None:
        """The job is in the store."""


def missing(plan: Plan, store: Store) -> dict[str, Job]:
    """The plan's jobs that the store does not hold, parents before children."""
    return {key: job for key, job in plan.jobs.items() if not store.has(key)}


def check_sources(plan: Plan, store: Store) -> None:
    """Refuse finished jobs whose plug-in has changed under its version: they are not what the source now says.

    Plug-ins from files and editable installs carry their digest in the key and never get here.
    """
    for key in plan.jobs:
        manifest = store.manifest(key)
        for record in (manifest or {}).get("plugins", []):
            if record["from_file"]:
                continue
            loaded = load_plugin(record["name"])
            if loaded.plugin.version == record["version"] and loaded.digest != record["digest"] and not loaded.editable:
                raise UserError(
                    f"the source of {record['name']} {record['version']} has changed since job {key[:SHORT]} was done",
                    "raise its version, or use the results as they are with --accept-source (not publishable)",
                )


def execute(plan: Plan, store: Store, places: Places, reporter: Reporter, *, logs: Path) -> None:
    """Do every missing job of the plan.

    Raises what the first failing job raised; all that was finished stays, and unfinished jobs are gone on with next
    time. Workers are ended on the way out, whatever the way.
    """
    todo = missing(plan, store)
    if not todo:
        return
    for engine in sorted({name for job in todo.values() if (name := _engine(job))}):
        require(engine)  # before anything is trained whose answers could not be asked for
    with _Crew(plan.recipe.runtime, store, places, logs) as crew:
        queue = _Queue(todo)
        while queue.left or crew.busy():
            for worker, job in crew.assign(queue):
                reporter.started(job, resumed=store.started(job.key))
                worker.give(job)
            for worker, event in crew.events():
                job = worker.doing()
                if event["event"] == "progress":
                    reporter.progressed(job, Progress(event["done"], event["total"], event["unit"], event["note"]))
                elif event["event"] == "done":
                    worker.job = None
                    queue.finish(job)
                    reporter.finished(job, event["seconds"])
                else:
                    raise _failure(event)


def _failure(event: Mapping[str, Any]) -> HarnessError:
    kind = UserError if event["exit_code"] == UserError.exit_code else Failure
    error = kind(event["problem"], event["remedy"])
    error.add_note(event["traceback"])
    return error


def lane(job: Job) -> str:
    """Jobs of one lane can share a process; vLLM keeps one to itself."""
    return "vllm" if _engine(job) == "vllm" else "torch"


def _engine(job: Job) -> str | None:
    name: str | None = job.declared.get("engine", {}).get("name")
    return name


@dataclass
class _Queue:
    """Jobs that nobody has taken yet; those with the longest chain of work behind them come first."""

    left: dict[str, Job]
    unfinished: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = set(self.left)
        self._depth: dict[str, int] = {}
        for key in reversed(self.left):  # children come after parents in a plan
            behind = [
                self._depth[k] for k, job in self.left.items() if k in self._depth and key in job.parents.values()
            ]
            self._depth[key] = 1 + max(behind, default=0)

    def ready(self) -> Iterator[Job]:
        """Jobs whose parents are all finished, most urgent first."""
        free = [job for job in self.left.values() if not self.unfinished.intersection(job.parents.values())]
        yield from sorted(free, key=lambda job: -self._depth[job.key])

    def take(self, job: Job) -> Job:
        """Hand the job out."""
        return self.left.pop(job.key)

    def finish(self, job: Job) -> None:
        """Free the job's children."""
        self.unfinished.discard(job.key)


@dataclass
class _WorkerProcess:
    """One worker, seen from here."""

    process: subprocess.Popen[str]
    lane: str
    log: Path
    job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        self.tell(asdict(job))

    def tell(self, value: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(canonical(value) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.died() from None

    def doing(self) -> Job:
        assert self.job is not None
        return self.job

    def died(self) -> Failure:
        """What to say when it ended without a word."""
        code = self.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = (
            "memory may have run out: lower runtime.workers or runtime.micro_tokens; "
            if code == -signal.SIGKILL
            else ""
        )
        what = self.job.label if self.job else "a worker"
        return Failure(f"{what}: its worker {how}", f"{hint}its output is in {self.log}; the same command then goes on")

    def end(self) -> None:
        """Kill it with everything it started; a job half done is gone on with next time."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _environment(threads: int) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": str(threads),
        # Waiting threads that spin take the cores from the workers beside them.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "TOKENIZERS_PARALLELISM": "false",
    }


@dataclass
class _Crew:
    """The worker processes of a run."""

    runtime: Runtime
    store: Store
    places: Places
    logs: Path
    workers: list[_WorkerProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytes] = {}
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()
        self._selector.close()

    def busy(self) -> bool:
        return any(worker.job is not None for worker in self.workers)

    def assign(self, queue: _Queue) -> Iterator[tuple[_WorkerProcess, Job]]:
        """Pair ready jobs with idle workers, starting workers up to the allowed number and letting idle ones go."""
        for job in queue.ready():
            worker = next((w for w in self.workers if w.job is None and w.lane == lane(job)), None)
            if worker is None and len(self.workers) >= self.runtime.workers:
                idle = next((w for w in self.workers if w.job is None), None)
                if idle is None:
                    return
                self._dismiss(idle)
            yield worker or self._hire(lane(job)), queue.take(job)

    def events(self) -> Iterator[tuple[_WorkerProcess, dict[str, Any]]]:
        """Wait until a worker says something, and pass on what it said."""
        for ready, _ in self._selector.select(timeout=1.0):
            worker: _WorkerProcess = ready.data
            chunk = os.read(ready.fd, 1 << 16)
            if not chunk:
                raise worker.died()
            *lines, rest = (self._buffers.get(ready.fd, b"") + chunk).split(b"\n")
            self._buffers[ready.fd] = rest
            for line in lines:
                yield worker, json.loads(line)

    def _hire(self, lane_name: str) -> _WorkerProcess:
        threads = self.runtime.threads or max(1, (os.cpu_count() or 1) // self.runtime.workers)
        log = self.logs / f"worker-{len(list(self.logs.glob('worker-*.log')))}-{lane_name}.log"
        with explained(self.logs, "--out"):
            self.logs.mkdir(parents=True, exist_ok=True)
            stderr = log.open("w", encoding="utf-8")
        with stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env={**os.environ, **_environment(threads)},
            )
        worker = _WorkerProcess(process, lane_name, log)
        self.workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout.fileno(), selectors.EVENT_READ, worker)
        runtime = {**self.runtime.model_dump(mode="json"), "threads": threads}
        places = {name: str(place) if place else None for name, place in asdict(self.places).items()}
        worker.tell({"store": str(self.store.root), **places, "runtime": {**runtime, **places}})
        return worker

    def _dismiss(self, worker: _WorkerProcess) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout.fileno())
        self._buffers.pop(worker.process.stdout.fileno(), None)
        worker.end()
        self.workers.remove(worker)
