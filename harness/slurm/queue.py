"""SLURM's queue, asked and changed through SLURM's own commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.store import Store

ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"),
        *("BOOT_FAIL", "DEADLINE", "LAUNCH_FAILED", "REVOKED"),
    }
)
"""States that a job does not leave; while it is requeued it is pending."""

NEVER = "DependencyNeverSatisfied"


@dataclass(frozen=True)
class Entry:
    """One SLURM job of ours."""

    id: str
    state: str
    reason: str
    """Why it waits."""
    folder: Path
    """Where its batch script lies: the submission folder of the plan's job that it does."""

    @property
    def alive(self) -> bool:
        """Whether it still may do its work."""
        return self.state not in ENDED and self.reason != NEVER


def available() -> bool:
    """Whether this machine can submit jobs to a SLURM cluster."""
    return shutil.which("sbatch") is not None and shutil.which("squeue") is not None


def require() -> None:
    """Refuse to go on where there is no SLURM."""
    if not available():
        raise UserError("there is no SLURM here: sbatch is not found", "run it on a cluster's login node")


def entries() -> dict[str, Entry] | None:
    """All jobs of this user by id, those that ended a few minutes ago included; None when SLURM does not answer."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%r|%o"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    found = [Entry(*parts[:3], folder=Path(parts[3]).parent) for parts in map(_parts, done.stdout.splitlines())]
    return {entry.id: entry for entry in found}


def _parts(line: str) -> tuple[str, str, str, str]:
    identity, state, reason, script = line.split("|", 3)
    return identity, state, reason, script


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs by their ids; one that has ended meanwhile is left alone."""
    if ids := list(ids):
        subprocess.run(["scancel", *ids], capture_output=True, check=False, timeout=60)  # noqa: S607 (SLURM's own)


def cluster_states(store: Store) -> dict[str, str]:
    """By key, `running` or `queued` for the jobs that a cluster does for this store; nothing where there is none."""
    if not (store.root / "slurm").is_dir() or not available():
        return {}
    home = (store.root / "slurm").absolute()
    found = {e.folder.name: e for e in (entries() or {}).values() if e.alive and e.folder.parent == home}
    return {key: "queued" if entry.state == "PENDING" else "running" for key, entry in found.items()}
