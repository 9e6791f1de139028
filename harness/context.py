"""What a job's code works with besides its declaration: places, the machine's settings, and somebody to tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.execution import Execution


@dataclass(frozen=True)
class Progress:
    """How far a job is: `done` of `total` units, and a few words or numbers beside the bar."""

    done: float
    total: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Context:
    """What a job's worker works with. All that it writes into `folder` is its output once the job is committed."""

    folder: Path
    """Survives a crash: a second attempt finds here what the first one left."""
    parents: Mapping[str, Path]
    """Role to the finished job's folder."""
    runtime: Mapping[str, Any]
    """`threads`, `micro_tokens`, `checkpoint_seconds`, `data_root`, `cache`: how, never what."""
    progress: Callable[[Progress], None]
    execution: Execution = field(default_factory=Execution)
    """How a training stage is executed."""

    @property
    def data_root(self) -> Path | None:
        """The local mirror of datasets on this machine."""
        found = self.runtime.get("data_root")
        return Path(found) if found else None
