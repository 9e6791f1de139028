"""Which rank is to blame when a stage fails. One failure brings down all ranks, within milliseconds of each other."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Failure, HarnessError, UserError, retold
from harness.machine import Relief, starved
from harness.processes import how_it_ended


@dataclass
class Rank:
    """What the supervisor knows of one rank."""

    number: int
    host: str
    pid: int
    failed: Mapping[str, Any] | None = None
    """What it said when it raised."""
    code: int | None = None
    """How it ended: exit code, or the signal as a negative number."""
    lost: bool = False
    """Whether its guard went without a word."""
    silent: bool = False
    """Whether it was lost because its machine does not answer."""
    troubled_at: float | None = None
    """When the first bad news came."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.code is not None or self.lost

    @property
    def died(self) -> bool:
        """Without a word, and not by a signal that launchers send to the neighbours of a failed rank."""
        fine = self.code in {None, 0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
        return self.failed is None and (self.lost or not fine)

    @property
    def because(self) -> str | None:
        """`gone` or `late` where what it raised says that it waited for another."""
        return self.failed["because"] if self.failed else None

    def __str__(self) -> str:
        return f"rank {self.number} on {self.host}"


def verdict(
    label: str, ranks: Iterable[Rank], logs: Path, short: Mapping[str, Relief | None] | None = None
) -> HarnessError | None:
    """What to raise of ranks of which at least one is in trouble; None where none is.

    A rank that died comes before one that raised, for others raise because it is gone; one that raised an error of its
    own before one that waited in vain; and where all that raised have waited in vain, those that are still there are
    what they waited for. `short` are hosts whose kernel has killed for memory meanwhile, and what would take less.
    """
    ranks = sorted(ranks, key=lambda rank: rank.troubled_at or 0)
    troubled = [rank for rank in ranks if rank.troubled_at is not None]
    if not troubled:
        return None
    for dead in (rank for rank in troubled if rank.died):
        return _died(label, dead, logs, short or {})
    for own in (rank for rank in troubled if rank.failed and not rank.because):
        return _raised(label, own, logs)
    late = [rank for rank in troubled if rank.because == "late"]
    hanging = [rank for rank in ranks if rank.troubled_at is None and not rank.ended]
    if late and hanging:
        return _hangs(label, hanging[0], late[0], logs)
    for failed in (rank for rank in troubled if rank.failed):
        return _raised(label, failed, logs)
    return Failure(f"{label}: {troubled[0]} {how_it_ended(troubled[0].code or 0)}", _go_on(troubled[0], logs))


def _died(label: str, rank: Rank, logs: Path, short: Mapping[str, Relief | None]) -> HarnessError:
    if rank.silent:
        return Failure(f"{label}: {rank} does not answer any more", "its machine or network is gone")
    # Whatever else can end a guard, it would have told.
    code = -signal.SIGKILL if rank.code is None else rank.code
    if code == -signal.SIGKILL and rank.host in short:
        return starved(label, str(rank), "runtime.micro_tokens", short[rank.host])
    memory = (
        "memory may have run out: lower runtime.micro_tokens, or shard with train.deepspeed; "
        if code == -signal.SIGKILL
        else ""
    )
    return Failure(f"{label}: {rank} {how_it_ended(code)}", memory + _go_on(rank, logs))


def _raised(label: str, rank: Rank, logs: Path) -> HarnessError:
    said = rank.failed
    assert said is not None
    if said["exit_code"] == UserError.exit_code:
        return retold(said)
    problem = said["problem"] if said["expected"] else f"{label}: {rank}: {said['problem']}"
    log = f"the log of {rank} is {log_of(rank, logs)}"
    return Failure(problem, f"{said['remedy']}; {log}" if said["remedy"] else log)


def _hangs(label: str, rank: Rank, waiting: Rank, logs: Path) -> HarnessError:
    assert waiting.failed is not None
    return Failure(
        f"{label}: {rank} hangs: rank {waiting.number} waited for it in vain ({waiting.failed['problem']})",
        f"if it needs so long, raise runtime.collective_timeout; its log is {log_of(rank, logs)}",
    )


def _go_on(rank: Rank, logs: Path) -> str:
    return f"its log is {log_of(rank, logs)}; the same command then goes on"


def log_of(rank: Rank, logs: Path) -> Path:
    """Where all that it prints goes."""
    return logs / f"{rank.number}.log"
