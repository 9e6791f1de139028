"""A worker process: it takes jobs on standard input, does them one after another, and reports on standard output.

One JSON object a line in both directions. A worker dies with the process that started it, and whatever it was doing is
gone on with by the next one that takes the job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness.api import Item
from harness.canonical import Json, canonical, file_digest
from harness.context import Context, Progress
from harness.data.resolve import Places
from harness.endpoints.model import take_served
from harness.errors import Failure, HarnessError, Leaving, told
from harness.jobs import (
    CHECKPOINTS,
    CORPUS,
    EstimateFisher,
    Evaluate,
    Generate,
    Job,
    Merge,
    PrepareData,
    PrepareModel,
    Respond,
    Train,
)
from harness.launch.order import FILE as ORDER
from harness.machine import failures_named
from harness.processes import die_with_parent
from harness.provenance import git_state, surroundings
from harness.scene import Scene
from harness.store import Store

if TYPE_CHECKING:
    from harness.engines.pool import Engines

_PROGRESS_INTERVAL = 0.2


@dataclass(frozen=True)
class _Task:
    """A job with what it works with."""

    job: Job
    scene: Scene
    context: Context
    started: datetime


class Worker:
    """Does jobs; keeps the engine between evaluations."""

    def __init__(self, store: Store, places: Places, runtime: Mapping[str, Any], out: TextIO) -> None:
        self.store = store
        self.places = places
        self.runtime = runtime
        self.out = out
        self._last_progress: dict[str, float] = {}

    @cached_property
    def engines(self) -> Engines:
        """The engines of this process, none started yet."""
        from harness.engines.pool import Engines

        return Engines()

    def say(self, **event: Json) -> None:
        """One line to whoever started this worker."""
        self.out.write(canonical(event) + "\n")
        self.out.flush()

    def do(self, jobs: Sequence[Job]) -> None:
        """Do the jobs, but those that somebody else has finished meanwhile; several are asked of one model together."""
        with ExitStack() as locks:
            tasks = []
            for job in sorted(jobs, key=lambda job: job.key):  # in one order everywhere, so that nobody waits in a ring
                folder = locks.enter_context(self.store.working_on(job.key, partial(self._waits, job)))
                if self.store.has(job.key):
                    folder.rmdir()
                    self.say(event="done", key=job.key, seconds=0.0)
                else:
                    tasks.append(self._task(job, folder))
            tasks.sort(key=lambda task: [job.key for job in jobs].index(task.job.key))
            if tasks and tasks[0].job.kind == "respond":
                self._ask(tasks)
                return
            for task in tasks:
                clock = time.monotonic()
                outcome = self.execute(task.job, task.scene, task.context)
                self._commit(task, outcome, time.monotonic() - clock)

    def _task(self, job: Job, folder: Path) -> _Task:
        scene = Scene(job, self.places)
        context = Context(
            folder,
            {role: self.store.folder(key) for role, key in job.parents.items()},
            {**self.runtime, "store": str(self.store.root), "base_url": scene.base_url},
            partial(self._progress, job),
            scene.recipe.train.execution(),
            lambda text: self.say(event="notice", key=job.key, text=text),
            job.label,
            scene.recipe.name,
        )
        return _Task(job, scene, context, datetime.now(UTC))

    def _progress(self, job: Job, progress: Progress) -> None:
        """Pass progress on, a few times a second."""
        now = time.monotonic()
        if now - self._last_progress.get(job.key, 0.0) >= _PROGRESS_INTERVAL or progress.done >= progress.total:
            self._last_progress[job.key] = now
            self.say(event="progress", key=job.key, **asdict(progress))

    def _arriving(self, job: Job, items: int) -> None:
        """Say that so many answers can be read as they come."""
        self.say(event="arriving", key=job.key, items=items)

    def _waits(self, job: Job) -> None:
        """Say why nothing moves."""
        note = "waits for another run that works on it"
        self.say(event="progress", key=job.key, done=0, total=1, unit="job", note=note)

    def _ask(self, tasks: Sequence[_Task]) -> None:
        """Benchmarks of one model, through one engine; each is committed as soon as its last item is answered."""
        from harness.evaluate.respond import Assignment, respond

        assignments = [
            Assignment(
                Respond.model_validate(task.job.declared),
                task.scene.bound.evaluators()[task.job.payload["benchmark"]][0].task,
                task.context,
                partial(self._arriving, task.job),
            )
            for task in tasks
        ]
        by_folder = {task.context.folder: task for task in tasks}
        with failures_named("asking", tasks[0].context.folder, "runtime.batch_size"):
            for assignment, outcome in respond(assignments, self.engines):
                self._commit(by_folder[assignment.context.folder], outcome, outcome["measured"]["seconds"])

    def _commit(self, task: _Task, outcome: Mapping[str, Any], seconds: float) -> None:
        """Put what came of a job into the store."""
        job, folder = task.job, task.context.folder
        weights = {p.name: file_digest(p) for p in sorted((folder / "model").glob("*.safetensors"))}
        manner = {"execution": task.context.execution.manner()} if job.kind == "train" else {}
        manifest = {
            "key": job.key,
            "kind": job.kind,
            "label": job.label,
            "declared": job.declared,
            "parents": dict(job.parents),
            "arm": job.payload["arm"],
            "plugins": task.scene.plugins(),
            "result": {**outcome["result"], **({"weights": weights} if weights else {})},
            "measured": {**outcome["measured"], **manner, "job_seconds": seconds, **surroundings()},
            "started": task.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.store.commit(job, manifest, without=(CHECKPOINTS, CORPUS))
        self.say(event="done", key=job.key, seconds=seconds)

    def execute(self, job: Job, scene: Scene, context: Context) -> Mapping[str, Any]:
        """Call the code of the job's kind; returns its `result` and `measured`."""
        outcome: Mapping[str, Any]
        if job.curates:
            outcome = self.curate(job, scene, context)
        elif job.kind == "prepare":
            from harness.train.init import prepare_model

            prepare = PrepareModel.model_validate(job.declared)
            if prepare.model.server is not None:
                return take_served(prepare.model, context.folder / "model")
            if "model_path" in job.payload:
                located = prepare.model.model_copy(update={"id": job.payload["model_path"]})
                prepare = prepare.model_copy(update={"model": located})
            outcome = prepare_model(prepare, scene.sources, context)
        elif job.kind == "fisher":
            from harness.train.fisher import estimate

            estimating = EstimateFisher.model_validate(job.declared)
            sources = scene.sources_of(estimating.items, context.parents)
            outcome = estimate(estimating, sources, context.parents["model"] / "model", context)
        elif job.kind == "train":
            outcome = self.train(job, scene, context)
        elif job.kind == "merge":
            from harness.merge.job import merge

            merging = Merge.model_validate(job.declared)
            sources = scene.sources_of(merging.held_out, context.parents)
            outcome = merge(merging, scene.merger(), sources, context)
        elif job.kind == "generate":
            from harness.engines.answers import generate

            generating = Generate.model_validate(job.declared)
            sources = scene.sources_of([generating.item], context.parents)
            with failures_named("generating", context.folder, "runtime.batch_size"):
                outcome = generate(generating, sources, self.engines, context)
        elif job.kind == "evaluate":
            from harness.evaluate.score import evaluate

            evaluator, _ = scene.bound.evaluators()[job.payload["benchmark"]]
            outcome = evaluate(Evaluate.model_validate(job.declared), evaluator, scene.judging, context)
        else:
            raise Failure(f"this worker knows no job of the kind {job.kind!r}", "update the harness")
        return outcome

    def curate(self, job: Job, scene: Scene, context: Context) -> Mapping[str, Any]:
        """Curate data, with whatever the curation asks for."""
        from harness.curation.job import curate

        declared = PrepareData.model_validate(job.declared)
        sources = scene.sources_of(declared.items, context.parents)

        def benchmark(name: str) -> Sequence[Item]:
            from harness.evaluate.items import items_of

            evaluator, _ = scene.bound.evaluators()[name]
            return items_of(evaluator.task, declared.benchmarks[name], context.data_root)

        with failures_named("curating", context.folder, "runtime.batch_size"):
            outcome: Mapping[str, Any] = curate(
                declared,
                scene.curation(),
                sources,
                context,
                engines=self.engines,
                judging=scene.judging,
                benchmark=benchmark,
            )
        return outcome

    def train(self, job: Job, scene: Scene, context: Context) -> Mapping[str, Any]:
        """Train in this process, or in those of a launcher."""
        (context.folder / ORDER).unlink(missing_ok=True)  # of a launch that was killed
        if context.execution.launcher != "none":
            from harness.launch.supervisor import launch

            return launch(job, self.places, context)
        from harness.train.job import train

        declared = Train.model_validate(job.declared)
        sources = scene.sources_of(declared.items(), context.parents)
        outcome: Mapping[str, Any] = train(declared, sources, scene.loss(), context)
        return outcome


def _own_stdout() -> TextIO:
    """Keep the protocol's channel to ourselves: whatever libraries print goes to the log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def main() -> None:
    """Serve jobs until standard input ends. The first line says where things are, the argument who started this."""
    die_with_parent(int(sys.argv[1]))
    git_state()
    out = _own_stdout()
    hello = json.loads(sys.stdin.readline())
    if hello.get("gives_way"):
        os.nice(hello["gives_way"])
        signal.signal(signal.SIGTERM, _leave)
    places = Places(*(Path(p) if p else None for p in (hello["data_root"], hello["cache"])))
    worker = Worker(Store(Path(hello["store"])), places, hello["runtime"], out)
    with suppress(Leaving):
        _serve(worker)


def _serve(worker: Worker) -> None:
    for line in sys.stdin:
        fields = json.loads(line)
        try:
            worker.do([Job(**of) for of in fields["jobs"]])
        except Exception as error:  # noqa: BLE001 (whatever a job raises is that job's failure, told to the parent)
            traceback.print_exc()
            said = error if isinstance(error, HarnessError) else _unexpected(error, fields["jobs"][0]["label"])
            worker.say(event="failed", **told(said), traceback=traceback.format_exc())


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Leaving


def _unexpected(error: Exception, label: str) -> Failure:
    text = str(error).strip().splitlines()
    return Failure(f"{label}: {type(error).__name__}: {text[0] if text else 'no message'}", "--debug shows where")


if __name__ == "__main__":
    main()
