"""The story of a run: take a plan, do what the store does not hold yet, in worker processes, and stop well.

A job is ready when its parents are finished. Ready jobs go to idle workers of their lane; a worker stays for the next
job, so that what it has imported and loaded is paid for once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from harness.context import Progress
from harness.crew import Crew, Queue
from harness.curation.declare import require_embedder
from harness.data.resolve import Places
from harness.discovery import load_plugin
from harness.engines.pool import require
from harness.errors import HarnessError, UserError, retold
from harness.jobs import Job
from harness.lanes import engine
from harness.launch.launchers import check
from harness.plan import Plan
from harness.recipe import Recipe
from harness.store import SHORT, Store


class Reporter(Protocol):
    """Who tells the user what happens."""

    def started(self, job: Job, *, resumed: bool) -> None:
        """A worker took the job; `resumed` where an earlier attempt left something."""

    def progressed(self, job: Job, progress: Progress) -> None:
        """The job is so far."""

    def noticed(self, job: Job, text: str) -> None:
        """The job has something to say that is no error."""

    def finished(self, job: Job, seconds: float) -> None:
        """The job is in the store."""

    def note(self, text: str) -> None:
        """Something about the run as a whole."""


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
    check_engines(todo, plan.recipe)
    if any(job.kind == "train" for job in todo.values()):
        check(plan.recipe.train.execution())
    with Crew(plan.recipe, store, places, logs, reporter.note) as crew:
        queue = Queue(todo)
        while queue.left or crew.busy():
            for worker, jobs in crew.assign(queue):
                for job in jobs:
                    reporter.started(job, resumed=store.started(job.key))
                worker.give(jobs)
            for worker, event in crew.events():
                if event["event"] == "failed":
                    raise failure(event)
                job = worker.jobs[event["key"]]
                if event["event"] == "arriving":
                    queue.arriving[job.key] = event["items"]
                elif event["event"] == "done":
                    del worker.jobs[job.key]
                    queue.finish(job)
                    reporter.finished(job, event["seconds"])
                else:
                    _tell(reporter, job, event)


def _tell(reporter: Reporter, job: Job, event: Mapping[str, Any]) -> None:
    if event["event"] == "notice":
        reporter.noticed(job, event["text"])
    else:
        said = {name: value for name, value in event.items() if name not in {"event", "key"}}
        reporter.progressed(job, Progress(**said))


def check_engines(todo: Mapping[str, Job], recipe: Recipe) -> None:
    """Refuse jobs whose engine or embedder is not installed, or whose server's key is not there, before any begins."""
    for job in todo.values():
        if job.curates:
            require_embedder(job.declared["embedder"])
    names = sorted({name for job in todo.values() if (name := engine(job))})
    for name in names:
        require(name)
    if "endpoint" in names:
        recipe.runtime.endpoint.key_for("the model's server")


def failure(event: Mapping[str, Any]) -> HarnessError:
    """The error that a worker told of."""
    error = retold(event)
    error.add_note(event.get("traceback", ""))
    return error
