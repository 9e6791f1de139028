"""What a job's code works with besides its declaration: places, the machine's settings, and somebody to tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    seconds_left: float | None = None
    """Where the job can tell better than from units and time."""


def _to_log(text: str) -> None:
    sys.stderr.write(f"{text}\n")


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
    notice: Callable[[str], None] = _to_log
    """Say one line to the user that is no error: what was chosen, what is missing, what goes on without."""
    label: str = ""
    """What people call the job: `dmt+im: train general (seed 0)`."""
    run: str = ""
    """The recipe's name."""

    def within(self, name: str) -> Context:
        """For a part of the work, in a folder of its own below this one."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return replace(self, folder=folder)

    @property
    def data_root(self) -> Path | None:
        """The local mirror of datasets on this machine."""
        found = self.runtime.get("data_root")
        return Path(found) if found else None
