"""Handing jobs to a cluster, each after those that it stands on."""

from __future__ import annotations

import contextlib
import io
import math
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.allocation import Allocation
from harness.crew import hello
from harness.data.resolve import Places
from harness.errors import UserError
from harness.jobs import Job
from harness.lanes import LIGHT, lane
from harness.plan import Plan
from harness.slurm import queue
from harness.slurm.attempt import Attempt
from harness.slurm.queue import Entry
from harness.store import Store

_UNLIMITED = 1_000_000
"""Time-outs that submitit allows; an attempt counts for itself how often it got no further."""

_LEAVING_SECONDS = 10
"""Of the time between SLURM's warning and the end, what going back into the queue takes."""


class Cluster(Protocol):
    """What jobs are handed to."""

    orders: bool
    """Whether it can hold a job back until others are done; else a job is submitted when its parents are."""

    def submit(self, attempt: Attempt, parameters: Mapping[str, Any]) -> str:
        """Submit a job with parameters in submitit's words; its id."""

    def entries(self) -> Mapping[str, Entry] | None:
        """All jobs of this user by id; None where the cluster does not answer."""

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel these jobs."""


class SlurmCluster:
    """The SLURM cluster that this machine belongs to."""

    orders = True

    def __init__(self) -> None:
        queue.require()
        if find_spec("submitit") is None:
            raise UserError("submitit is not installed", "pip install 'instruct-harness[slurm]'")

    def submit(self, attempt: Attempt, parameters: Mapping[str, Any]) -> str:
        """As `sbatch` does it; a refusal is said in SLURM's own words."""
        import submitit

        executor = submitit.SlurmExecutor(
            attempt.folder, max_num_timeout=_UNLIMITED, python=f"{shlex.quote(sys.executable)} -P"
        )
        executor.update_parameters(**parameters)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the error carries what was printed
                return str(executor.submit(attempt).job_id)
        except submitit.core.utils.FailedJobError as error:
            said = str(error).strip().splitlines()
            reason = said[-1].removeprefix("sbatch: error: ") if said else "sbatch failed without a word"
            raise UserError(f"SLURM refuses {attempt.job['label']}: {reason}", "correct slurm: in the recipe") from None

    def entries(self) -> Mapping[str, Entry] | None:
        """As `squeue` shows them."""
        return queue.entries()

    def cancel(self, ids: Iterable[str]) -> None:
        """As `scancel` does it."""
        queue.cancel(ids)


@dataclass(frozen=True)
class Submitter:
    """Hands a plan's jobs to a cluster."""

    plan: Plan
    store: Store
    places: Places
    cluster: Cluster

    def submit(self, job: Job, after: Sequence[str]) -> str:
        """Submit one job, to begin when the jobs `after` have succeeded; its id."""
        folder = self.store.submission(job.key).absolute()
        asked = parameters(self.plan, job, after)
        _check_words(folder, asked)
        folder.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(
            job=asdict(job),
            hello=hello(self.store, self.places, self.plan.recipe.runtime.model_dump(mode="json")),
            folder=str(folder),
            partial=str(self.store.partial(job.key).absolute()),
            attempts=self.plan.recipe.slurm.attempts,
            patience=self.plan.recipe.slurm.warning_seconds - _LEAVING_SECONDS,
        )
        with _undisturbed():  # a job that was submitted is known to SLURM, and so to whoever follows it next
            return self.cluster.submit(attempt, asked)

    def attached(self) -> dict[str, Entry]:
        """By key the plan's jobs that an earlier command has submitted, and that still may be done."""
        entries = self.cluster.entries()
        if entries is None:
            raise UserError("SLURM does not answer: squeue failed", "try again when the controller is back")
        folders = {self.store.submission(key).absolute(): key for key in self.plan.jobs}
        return {folders[e.folder]: e for e in entries.values() if e.alive and e.folder in folders}


def parameters(plan: Plan, job: Job, after: Sequence[str]) -> dict[str, Any]:
    """What a job asks for, in submitit's words. One task a node: it supervises, or joins, what is launched there."""
    slurm, train = plan.recipe.slurm, plan.recipe.train
    computes = job.curates and lane(job, plan.recipe.engine.name) not in LIGHT
    allocation, nodes = slurm.of(job.kind, computes=computes), train.nodes if job.kind == "train" else 1
    if job.kind == "train" and allocation.gpus is not None and 0 < allocation.gpus < train.processes:
        raise UserError(
            f"train.processes is {train.processes}, and SLURM is asked for {allocation.gpus} GPUs on each node",
            "raise slurm.train.gpus, one for each process",
        )
    asked = {
        "job_name": job.label,
        "partition": allocation.partition,
        "account": allocation.account,
        "qos": allocation.qos,
        "nodes": nodes,
        "ntasks_per_node": 1,
        "gpus_per_node": allocation.gpus or None,
        "cpus_per_task": allocation.cpus,
        "mem": None if allocation.memory_gib is None else f"{math.ceil(allocation.memory_gib * 1024)}M",
        "time": math.ceil((allocation.hours or 0) * 60),
        "signal_delay_s": slurm.warning_seconds,
        "setup": list(allocation.setup) or None,
        "dependency": f"afterok:{':'.join(after)}" if after else None,
        "srun_args": _srun(allocation),
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **allocation.extra},
    }
    return {name: value for name, value in asked.items() if value is not None}


def _check_words(folder: Path, asked: Mapping[str, Any]) -> None:
    """Refuse what would be read otherwise in a batch script: a new line there is a command, and `%` names a job."""
    if any(letter in "%\\" or not letter.isprintable() for letter in str(folder)):
        raise UserError(f"SLURM cannot write to {str(folder)!r}", "give a --store whose path has no % or \\ in it")
    for name, value in {**asked, **asked["additional_parameters"]}.items():
        if name != "setup" and not f"{name}{value}".isprintable():
            raise UserError(f"slurm: {name}: {value!r} is more than a line", "correct slurm: in the recipe")


def _srun(allocation: Allocation) -> list[str]:
    """Once a node has ended, the others have a minute; and since 22.05 srun takes no notice of sbatch's cores."""
    cores = [] if allocation.cpus is None else [f"--cpus-per-task={allocation.cpus}"]
    return ["--wait=60", *cores]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait a moment."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
