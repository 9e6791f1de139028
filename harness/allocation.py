"""What is asked of SLURM for a job: where it runs, for how long, and on what. None of it enters a key."""

from __future__ import annotations

from collections.abc import Mapping

import pydantic

from harness.jobs import Declaration, Kind

_WITHOUT_GPU = ("prepare", "merge", "evaluate")


class Allocation(Declaration):
    """Resources of one SLURM job; None leaves the choice to the cluster, or to the settings for all jobs."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    hours: float | None = pydantic.Field(None, gt=0)
    """Time limit. A job that reaches it is requeued, and goes on from what it has written."""
    gpus: int | None = pydantic.Field(None, ge=0)
    """GPUs on each node."""
    cpus: int | None = pydantic.Field(None, ge=1)
    """Cores on each node."""
    memory_gib: float | None = pydantic.Field(None, gt=0)
    """Memory on each node."""
    extra: Mapping[str, str | int | bool] = pydantic.Field(default_factory=dict)
    """Further parameters of sbatch, `{constraint: a100}` for `#SBATCH --constraint=a100`."""
    setup: tuple[str, ...] = ()
    """Shell lines that run on the first node before the job, `module load cuda`."""


class Slurm(Allocation):
    """The recipe's `slurm:`: what all jobs ask for, and what jobs of one kind ask for instead."""

    hours: float | None = pydantic.Field(4.0, gt=0)
    attempts: int = pydantic.Field(3, ge=1)
    """A job that was started so often without getting further fails instead of being requeued for ever."""
    warning_seconds: int = pydantic.Field(90, ge=20)
    """How long before the time limit a job is told to write a last checkpoint and to go back into the queue."""
    prepare: Allocation = Allocation()
    fisher: Allocation = Allocation()
    train: Allocation = Allocation()
    merge: Allocation = Allocation()
    generate: Allocation = Allocation()
    respond: Allocation = Allocation()
    evaluate: Allocation = Allocation()

    def of(self, kind: Kind, *, computes: bool = False) -> Allocation:
        """What a job of this kind asks for. Those that compute nothing on a GPU get none unless told so themselves.

        `computes`: the job does, whatever its kind.
        """
        own: Allocation = getattr(self, kind)
        shared = {name: getattr(self, name) for name in Allocation.model_fields}
        if kind in _WITHOUT_GPU and not computes:
            shared["gpus"] = None
        chosen = {**shared, **own.model_dump(exclude_defaults=True)}
        return Allocation.model_validate({**chosen, "extra": {**self.extra, **own.extra}})
