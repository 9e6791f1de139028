"""What every process of a launch is told, in a file beside the job's output. It holds nothing of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from harness.data.resolve import Places
from harness.execution import Execution
from harness.files import write_whole
from harness.jobs import Job

FILE = "launch.json"
LOGS = "ranks"
"""Folder of the logs of ranks and launchers, and of `events.jsonl`."""


@dataclass(frozen=True)
class Address:
    """Where somebody listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Order:
    """One launch of one stage."""

    id: str
    """Drawn anew for every launch; whoever calls the supervisor has to know it."""
    job: Job
    places: Places
    parents: Mapping[str, Path]
    runtime: Mapping[str, Any]
    execution: Execution
    supervisor: Address
    store: Address | None
    """Of the key-value store over which ranks meet, where the launcher brings none."""
    working_folder: Path
    """Where the command was given: what relative paths of the recipe are relative to."""

    def write(self, folder: Path) -> Path:
        """Put it into the job's folder, where nodes find it."""
        path = folder / FILE
        write_whole(path, _ADAPTER.dump_json(self), private=True)  # for its id
        return path

    @classmethod
    def read(cls, path: Path) -> Order:
        """Raises OSError where it is gone, ValueError where it is of another version."""
        return _ADAPTER.validate_json(path.read_bytes())


_ADAPTER = pydantic.TypeAdapter(Order)
