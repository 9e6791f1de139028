"""The worker processes of a run, which jobs they may take, and the GPUs that each of them sees."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from harness.canonical import Json, canonical
from harness.credentials import withheld
from harness.data.resolve import Places
from harness.devices import VISIBLE, shared_out, visible_gpus
from harness.errors import Failure
from harness.estimate.relief import relief_of
from harness.files import explained
from harness.jobs import Job
from harness.judge.settings import Judging
from harness.lanes import FOLLOWING, LIGHT, lane
from harness.machine import Relief, killed_for_memory, starved
from harness.processes import end_group, how_it_ended
from harness.recipe import Recipe
from harness.store import Store

_SPINS = "10000"
"""How often a thread looks before it sleeps for the others. Whoever looks for long, as by default, uses up the time
that a busy machine would have given it later; whoever sleeps at once is woken too late on a quiet one."""

_WAITING = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}

REPLIES_SECONDS = 20.0
"""How long a run that is stopped waits for replies of the judge that are under way."""


@dataclass
class Queue:
    """Jobs that nobody has taken yet; those with the longest chain of work behind them come first."""

    left: dict[str, Job]
    unfinished: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = set(self.left)
        self.arriving: dict[str, int] = {}
        """Key of each job under way whose answers can be read as they come, to the number of its items."""
        self._depth: dict[str, int] = {}
        for key in reversed(self.left):  # children come after parents in a plan
            behind = [
                self._depth[k] for k, job in self.left.items() if k in self._depth and key in job.parents.values()
            ]
            self._depth[key] = 1 + max(behind, default=0)

    def ready(self) -> Iterator[Job]:
        """Jobs whose parents are all finished, most urgent first."""
        free = [job for job in self.left.values() if not self._waits(job)]
        yield from sorted(free, key=lambda job: -self._depth[job.key])

    def following(self) -> Iterator[Job]:
        """Jobs that wait for nothing but answers which are coming; those with most to score first."""
        asked = [job for job in self.left.values() if job.parents.get("answers") in self.arriving]
        free = [job for job in asked if self._waits(job) == {job.parents["answers"]}]
        yield from sorted(free, key=lambda job: -self.arriving[job.parents["answers"]])

    def _waits(self, job: Job) -> set[str]:
        return self.unfinished.intersection(job.parents.values())

    def take(self, jobs: Iterable[Job]) -> list[Job]:
        """Hand the jobs out."""
        return [self.left.pop(job.key) for job in jobs]

    def sittings(self) -> list[list[Job]]:
        """Ready jobs, most urgent first, in lots that one worker can do together: all that is asked of one model."""
        lots: dict[Any, list[Job]] = {}
        for job in self.ready():
            together = job.kind == "respond" and (job.parents["model"], canonical(job.declared["engine"]))
            lots.setdefault(together or job.key, []).append(job)
        return list(lots.values())

    def finish(self, job: Job) -> None:
        """Free the job's children."""
        self.unfinished.discard(job.key)
        self.arriving.pop(job.key, None)


@dataclass
class WorkerProcess:
    """One worker, seen from here."""

    process: subprocess.Popen[str]
    lane: str
    log: Path
    gpus: str | None
    """Its CUDA_VISIBLE_DEVICES; None where it has that of the command."""
    jobs: dict[str, Job] = field(default_factory=dict)
    """What it was given and has not finished, by key."""
    store: Store | None = None
    kills: int = 0
    """Processes that the kernel had killed for memory when the jobs were given."""

    def give(self, jobs: Sequence[Job]) -> None:
        """Have it do the jobs, together."""
        self.jobs, self.kills = {job.key: job for job in jobs}, killed_for_memory()
        self.tell({"jobs": [asdict(job) for job in jobs]})

    def tell(self, value: Mapping[str, Any]) -> None:
        """Send it one line."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(canonical(value) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.died() from None

    def died(self) -> Failure:
        """What to say when it ended without a word."""
        code = self.process.wait()
        what = next((job.label for job in self.jobs.values()), "a worker")
        if code == -signal.SIGKILL and killed_for_memory() > self.kills:
            return starved(what, "its worker", "runtime.workers or runtime.micro_tokens", self._relief())
        hint = (
            "memory may have run out: lower runtime.workers or runtime.micro_tokens; "
            if code == -signal.SIGKILL
            else ""
        )
        return Failure(
            f"{what}: its worker {how_it_ended(code)}",
            f"{hint}its output is in {self.log}; the same command then goes on",
        )

    def _relief(self) -> Relief | None:
        """What a training stage would have needed, and what takes less."""
        job = next(iter(self.jobs.values()), None)
        if job is None or self.store is None:
            return None
        return relief_of(job, {role: self.store.folder(key) for role, key in job.parents.items()})

    def end(self) -> None:
        """Kill it with everything it started; a job half done is gone on with next time."""
        end_group(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def environment(threads: int, gpus: str | None = None) -> dict[str, str]:
    """What a worker has besides what it inherits."""
    return {
        "OMP_NUM_THREADS": str(threads),
        **({} if _WAITING & os.environ.keys() else {"GOMP_SPINCOUNT": _SPINS}),
        "TOKENIZERS_PARALLELISM": "false",
        # What cuBLAS wants to be told before it computes the same again.
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        **({} if gpus is None else {VISIBLE: gpus}),
    }


def hello(store: Store, places: Places, runtime: Mapping[str, Json]) -> dict[str, Json]:
    """The first line that a worker is told: where things are, and how it is to work."""
    named = {name: str(place.absolute()) if place else None for name, place in asdict(places).items()}
    return {"store": str(store.root.absolute()), **named, "runtime": {**runtime, **named}}


@dataclass
class Crew:
    """The worker processes of a run. Raises UserError where the GPUs cannot be shared out as the recipe wants."""

    recipe: Recipe
    store: Store
    places: Places
    logs: Path
    note: Callable[[str], None] = lambda _: None
    """Tells the user something about the run as a whole."""
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runtime = self.recipe.runtime
        execution = self.recipe.train.execution()
        self.slices = shared_out(visible_gpus(), self.runtime.workers, self.runtime.gpus_per_job, execution)

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytes] = {}
        return self

    def __exit__(self, *_: object) -> None:
        judging = [worker for worker in self.workers if worker.lane == "judge" and worker.jobs]
        for worker in judging:
            worker.process.terminate()
        for worker in self.workers:
            if worker not in judging:
                worker.end()
        if judging:
            self._await(judging)
        self._selector.close()

    def _await(self, judging: Sequence[WorkerProcess]) -> None:
        """Give the judge's replies in flight, which are paid for, the time to be stored."""
        self.note(f"stopping: waits up to {REPLIES_SECONDS:.0f} s for judgments that are paid for")
        until = time.monotonic() + REPLIES_SECONDS
        for worker in judging:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=max(0.0, until - time.monotonic()))
            worker.end()

    def busy(self) -> bool:
        """Whether a worker has a job."""
        return any(worker.jobs for worker in self.workers)

    def assign(self, queue: Queue) -> Iterator[tuple[WorkerProcess, list[Job]]]:
        """Pair ready jobs with idle workers, starting workers up to the allowed number and letting idle ones go.

        What is asked of one model is shared out between workers that would have nothing else to do. Whoever has nothing
        to score scores what is being answered.
        """
        lots = queue.sittings()
        heavy = [lot for lot in lots if self._lane(lot) not in LIGHT]
        busy = sum(bool(worker.jobs) for worker in self.workers if worker.lane not in LIGHT)
        spare = len(self.slices) - busy - len(heavy)
        for lot in lots:
            name = self._lane(lot)
            parts = [lot]
            if name not in LIGHT and spare > 0:
                count = min(len(lot), 1 + spare)
                spare -= count - 1
                parts = [lot[n::count] for n in range(count)]
            for part in parts:
                worker = self._worker(name)
                if worker is not None:
                    yield worker, queue.take(part)
        for job in queue.following():
            name = self._lane([job])
            if name in FOLLOWING and (name != "judge" or self._free_to_ask()):
                worker = self._worker(name)
                if worker is not None:
                    yield worker, queue.take([job])

    def _free_to_ask(self) -> bool:
        """Whether the judge may be asked before all answers are there, which alone tell what it will cost at most."""
        judge = self.recipe.judge
        return isinstance(judge, Judging) and judge.bounded

    def _lane(self, lot: Sequence[Job]) -> str:
        return lane(lot[0], self.recipe.engine.name)

    def _worker(self, lane_name: str) -> WorkerProcess | None:
        """An idle worker of the lane, if need be a new one; None where all places are taken."""
        idle = [worker for worker in self.workers if not worker.jobs]
        worker = next((worker for worker in idle if worker.lane == lane_name), None)
        if worker is not None:
            return worker
        if lane_name in LIGHT:
            taken = any(worker.lane == lane_name for worker in self.workers)
            return None if taken else self._hire(lane_name)
        heavy = [worker for worker in self.workers if worker.lane not in LIGHT]
        if len(heavy) >= len(self.slices):
            leaving = next((worker for worker in heavy if not worker.jobs), None)
            if leaving is None:
                return None
            self._dismiss(leaving)
        return self._hire(lane_name)

    def events(self) -> Iterator[tuple[WorkerProcess, dict[str, Any]]]:
        """Wait until a worker says something, and pass on what it said."""
        for ready, _ in self._selector.select(timeout=1.0):
            worker: WorkerProcess = ready.data
            chunk = os.read(ready.fd, 1 << 16)
            if not chunk:
                raise worker.died()
            *lines, rest = (self._buffers.get(ready.fd, b"") + chunk).split(b"\n")
            self._buffers[ready.fd] = rest
            for line in lines:
                yield worker, json.loads(line)

    def _hire(self, lane_name: str) -> WorkerProcess:
        threads = self.runtime.threads or max(1, (os.cpu_count() or 1) // len(self.slices))
        threads, gpus = (1, "") if lane_name in LIGHT else (threads, self._free_slice())
        log, stderr = self._log(lane_name)
        without = withheld(self.recipe.model_dump(mode="json"), lane_name)
        inherited = {name: value for name, value in os.environ.items() if name not in without}
        with stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                process_group=0,  # and not a session, of which each would have an equal share of the processors
                env={**inherited, **environment(threads, gpus)},
            )
        worker = WorkerProcess(process, lane_name, log, gpus, store=self.store)
        self.workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout.fileno(), selectors.EVENT_READ, worker)
        runtime = {**self.runtime.model_dump(mode="json"), "threads": threads}
        worker.tell({**hello(self.store, self.places, runtime), "gives_way": LIGHT.get(lane_name, 0)})
        return worker

    def _log(self, lane_name: str) -> tuple[Path, TextIO]:
        """The next that nobody has written."""
        with explained(self.logs, "--out"):
            self.logs.mkdir(parents=True, exist_ok=True)
            number = len(list(self.logs.glob("worker-*.log")))
            while (log := self.logs / f"worker-{number}-{lane_name}.log").exists():
                number += 1
            return log, log.open("x", encoding="utf-8")

    def _free_slice(self) -> str | None:
        """The first that no worker has; workers that share GPUs have the same one several times."""
        free = Counter(self.slices) - Counter(worker.gpus for worker in self.workers if worker.lane not in LIGHT)
        return next(iter(free.elements()))

    def _dismiss(self, worker: WorkerProcess) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout.fileno())
        self._buffers.pop(worker.process.stdout.fileno(), None)
        worker.end()
        self.workers.remove(worker)
