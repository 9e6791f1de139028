"""The story of a run on a cluster: submit what is missing, follow it until it is done, and stop well.

The cluster goes on without us. Whoever gives the same command again follows the jobs that are still there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.context import Progress
from harness.data.resolve import Places
from harness.errors import Failure, HarnessError, Refused
from harness.jobs import Job
from harness.plan import Plan
from harness.run import Reporter, check_engines, failure, missing
from harness.slurm.attempt import news
from harness.slurm.queue import ENDED, Entry
from harness.slurm.submit import Cluster, Submitter
from harness.store import Store

_TICK = 0.5
_ASK_SECONDS = (1.0, 15.0)
"""Between two looks at the queue: soon after something has changed, then ever more rarely."""
_LATE_SECONDS = 30.0
"""What another node wrote may become visible here only so much later."""


def execute(
    plan: Plan, store: Store, places: Places, reporter: Reporter, *, cluster: Cluster, detach: bool = False
) -> None:
    """Have the cluster do every missing job of the plan; with `detach`, come back when they are submitted.

    Independent jobs go on when one fails; in the end the first failure is raised. Interrupted, it leaves the jobs to
    the cluster, and says so.
    """
    todo = missing(plan, store)
    check_engines(todo, plan.recipe)
    run = _Run(todo, store, cluster, reporter, Submitter(plan, store, places, cluster))
    try:
        run.begin()
        if detach:
            reporter.note(f"{len(run.ids)} jobs are with SLURM; the same command without --detach follows them")
            return
        while run.live:
            run.look()
            time.sleep(_TICK)
    except HarnessError:
        raise
    except BaseException:
        if run.ids:
            reporter.note(f"SLURM goes on with what it was given; to stop that: scancel {' '.join(run.ids.values())}")
        raise
    run.conclude()


@dataclass
class _Run:
    """A plan's missing jobs, and what has become of them so far."""

    todo: Mapping[str, Job]
    store: Store
    cluster: Cluster
    reporter: Reporter
    submitter: Submitter
    ids: dict[str, str] = field(default_factory=dict)
    """By key, the SLURM ids of jobs that are submitted and neither finished nor failed."""
    failed: dict[str, HarnessError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.live = dict(self.todo)
        self._attempts: dict[str, int] = {}
        self._noticed: dict[str, int] = {}
        self._ended: dict[str, float] = {}
        self._entries: Mapping[str, Entry] = {}
        self._asked, self._wait = 0.0, _ASK_SECONDS[0]

    # --- submitting ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Find the jobs that are with the cluster already, and submit the others."""
        attached = self.submitter.attached()
        for key, job in self.todo.items():
            entry = attached.get(key)
            if entry is None:
                continue
            if all(parent in self.ids or parent not in self.todo for parent in job.parents.values()):
                self.ids[key] = entry.id
                self.reporter.note(f"follows: {job.label} (SLURM job {entry.id}, {entry.state.lower()})")
            else:  # it waits for a job that is no more
                self.cluster.cancel([entry.id])
        self._submit_ready()

    def _submit_ready(self) -> None:
        for key, job in self.live.items():
            waits = [parent for parent in job.parents.values() if parent in self.live]
            if key not in self.ids and (self.cluster.orders or not waits):
                after = sorted({self.ids[parent] for parent in waits}, key=int)
                self.ids[key] = self.submitter.submit(job, after)
                behind = f", after {', '.join(after)}" if after else ""
                self.reporter.note(f"queued: {job.label} (SLURM job {self.ids[key]}{behind})")

    # --- following -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See what has changed, and say it."""
        self._ask()
        for key, job in list(self.live.items()):
            if key not in self.ids:
                continue
            if self.store.has(key):
                self._finished(job)
            elif (said := self._news(key)) and said["event"] != "failed":
                self._running(job, said)
            if key in self.live and self._is_over(key):
                self._failed(job, self._what_happened(job))
        self._submit_ready()

    def _ask(self) -> None:
        if time.monotonic() - self._asked < self._wait:
            return
        entries = self.cluster.entries()
        self._asked = time.monotonic()
        if entries is None:  # the controller restarts; what is known stays so
            return
        changed = entries != self._entries
        self._entries = entries
        self._wait = _ASK_SECONDS[0] if changed else min(2 * self._wait, _ASK_SECONDS[1])

    def _news(self, key: str) -> dict[str, Any]:
        """What the job's present attempt has said; nothing where that is an earlier job's."""
        said = news(self.store.submission(key))
        return said if said.get("slurm") == self.ids[key] else {}

    def _running(self, job: Job, said: Mapping[str, Any]) -> None:
        before = self._attempts.get(job.key)
        self._attempts[job.key] = said["attempt"]
        if before is None:
            self.reporter.started(job, resumed=said.get("resumed", True))
        elif before != said["attempt"]:
            self._noticed.pop(job.key, None)
            self.reporter.note(f"goes on: {job.label} (attempt {said['attempt']} of SLURM job {said['slurm']})")
        for text in said["notices"][self._noticed.get(job.key, 0) :]:
            self.reporter.noticed(job, text)
        self._noticed[job.key] = len(said["notices"])
        if said["event"] == "progress":
            self.reporter.progressed(job, Progress(**{field.name: said[field.name] for field in fields(Progress)}))

    def _finished(self, job: Job) -> None:
        manifest = self.store.manifest(job.key)
        assert manifest is not None
        if job.key not in self._attempts:
            self.reporter.started(job, resumed=False)
        self._drop(job.key)
        self.reporter.finished(job, manifest["measured"]["job_seconds"])

    def _drop(self, key: str) -> None:
        del self.live[key]
        self.ids.pop(key, None)

    # --- failing ---------------------------------------------------------------------------------------------------

    def _is_over(self, key: str) -> bool:
        """Whether the job has ended for good without being done. What it wrote last may be late."""
        if not self._entries:
            return False
        entry = self._entries.get(self.ids[key])
        if entry is not None and entry.alive:
            self._ended.pop(key, None)
            return False
        since = self._ended.setdefault(key, time.monotonic())
        if entry is not None and entry.state in ENDED and self._news(key).get("event") == "failed":
            return True
        patient = entry is None or entry.state in {"COMPLETED", "FAILED"}
        return not patient or time.monotonic() - since > _LATE_SECONDS

    def _what_happened(self, job: Job) -> HarnessError:
        slurm = self.ids[job.key]
        log = self.store.submission(job.key) / f"{slurm}_0_log.err"
        said, entry = self._news(job.key), self._entries.get(slurm)
        if said.get("event") == "failed":
            error = failure(said)
            if isinstance(error, Refused):
                return error
            return type(error)(error.problem, "; ".join(filter(None, [error.remedy, f"its output is in {log}"])))
        state = "is gone" if entry is None else f"ended as {entry.state}"
        if entry is not None and entry.state == "COMPLETED":
            return Failure(
                f"{job.label}: SLURM job {slurm} is done, and the store does not hold its result",
                "give a --store that all nodes share",
            )
        remedy = _REMEDIES.get(entry.state if entry else "", "the same command submits it again")
        return Failure(f"{job.label}: SLURM job {slurm} {state}", f"{remedy}; its output is in {log}")

    def _failed(self, job: Job, error: HarnessError) -> None:
        """Note the failure once, for the job and for all that stand on it; those are cancelled."""
        self.failed[job.key] = error
        behind = list(self._behind(job.key))
        self.cluster.cancel([self.ids[key] for key in behind if key in self.ids])
        for key in (job.key, *behind):
            self._drop(key)
        cancelled = f"; {len(behind)} jobs that stand on it are cancelled" if behind else ""
        left = f"; {len(self.live)} others go on" if self.live else ""
        self.reporter.note(f"failed: {job.label}{cancelled}{left}")

    def _behind(self, key: str) -> Iterator[str]:
        """The live jobs that stand on this one, directly or not."""
        found = {key}
        for other, job in self.live.items():  # children come after parents in a plan
            if other not in found and found.intersection(job.parents.values()):
                found.add(other)
                yield other

    def conclude(self) -> None:
        """Raise the first failure, if there is one."""
        for error in self.failed.values():
            raise error


_REMEDIES = {
    "OUT_OF_MEMORY": "ask for more with slurm.memory_gib, or lower runtime.micro_tokens",
    "TIMEOUT": "ask for more time with slurm.hours; the same command then goes on",
    "NODE_FAIL": "the same command goes on",
    "CANCELLED": "the same command goes on",
}
