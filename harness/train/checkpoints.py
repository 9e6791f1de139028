"""Checkpoints that are either whole or not there: sealed with sizes and digests, then made visible by one rename."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.canonical import canonical, file_digest
from harness.errors import UserError
from harness.files import sync
from harness.sharding import DIVIDES

WRITING = "writing"
"""The folder beside the checkpoints in which the next one is written."""
SEAL = "complete.json"

REQUEST = "wanted"
"""A file of this name beside the checkpoints asks for one after the present step; it goes when that is sealed."""
RESTARTED = "restarted"
"""Stands beside the checkpoints of a stage that was begun anew."""

_KEPT = 2
"""The newest, and the one before it in case the newest is damaged later."""


@dataclass(frozen=True)
class Spread:
    """Over what the state of training is spread; only the same can go on from it."""

    processes: int = 1
    stage: int | None = None
    """Of ZeRO; None without DeepSpeed."""
    offloaded: bool = False
    """Whether the optimiser's state is the CPU's."""
    deepspeed: str | None = None
    """Name of the DeepSpeed configuration."""
    digest: str | None = None
    """Of that configuration."""
    division: str | None = None
    """Of what in it decides where parts of the optimiser's state lie."""

    def __str__(self) -> str:
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return f"{processes} {f'with DeepSpeed {self.deepspeed}' if self.deepspeed else 'without DeepSpeed'}"

    def fits(self, other: Spread) -> bool:
        """Whether a checkpoint of one can be read by the other."""
        return self._shape == other._shape and self.division == other.division

    @property
    def _shape(self) -> tuple[int, int | None, bool]:
        return self.processes, self.stage, self.offloaded

    def divides_otherwise(self, other: Spread) -> bool:
        """Whether nothing but the order of the optimiser's state differs."""
        return self._shape == other._shape and self.division != other.division


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint after `step` steps and `seconds` of training."""

    folder: Path
    step: int
    seconds: float
    spread: Spread = field(default_factory=Spread)
    layout: Mapping[str, Any] = field(default_factory=dict)
    """How micro-batches were laid out; another layout changes rounding from here on, and nothing else."""

    def check(self, spread: Spread) -> None:
        """UserError where training spread like `spread` cannot go on from here."""
        if self.spread.fits(spread):
            return
        was = self.spread
        if was.divides_otherwise(spread):
            raise UserError(
                f"the stage's checkpoint at step {self.step} divides the optimiser's state otherwise than {spread}",
                f"take back what changed of {', '.join(DIVIDES)}, or begin the stage anew with --restart-stage",
            )
        raise UserError(
            f"the stage's checkpoint at step {self.step} was written by {was}, and this run has {spread}",
            f"go on with --set train.processes={was.processes} --set train.deepspeed={was.deepspeed or 'null'}, "
            "or begin the stage anew with --restart-stage",
        )


def seal(
    written: Path,
    home: Path,
    *,
    step: int,
    seconds: float,
    spread: Spread | None = None,
    layout: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Turn a freshly written folder into the newest checkpoint of `home`; the one before it stays, older ones go.

    Everything reaches the disk before the rename; a crash at any moment leaves the previous checkpoints in place.
    """
    spread, layout = spread or Spread(), layout or {}
    files = {str(path.relative_to(written)): path for path in sorted(written.rglob("*")) if path.is_file()}
    for path in files.values():
        sync(path)
    record = {
        "step": step,
        "seconds": seconds,
        "spread": asdict(spread),
        "layout": dict(layout),
        "files": {name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in files.items()},
    }
    (written / SEAL).write_text(canonical(record))
    sync(written / SEAL)
    for folder in {path.parent for path in files.values()} | {written}:
        sync(folder)
    folder = home / f"step-{step:09d}"
    shutil.rmtree(folder, ignore_errors=True)
    written.rename(folder)
    sync(home)
    older = [path for path in folders(home) if path < folder]
    for path in older[: -(_KEPT - 1)]:
        shutil.rmtree(path)
    (home / REQUEST).unlink(missing_ok=True)
    return Checkpoint(folder, step, seconds, spread, layout)


def newest(home: Path) -> Checkpoint | None:
    """The newest complete checkpoint; damaged ones after it are dropped, for what follows them is trained again."""
    for folder in reversed(folders(home)):
        if found := _read(folder):
            return found
        shutil.rmtree(folder)
    return None


def discard(home: Path) -> None:
    """Begin anew: no checkpoint is left, and a mark says so if there was one."""
    found = folders(home)
    if found:
        (home / RESTARTED).touch()
    for folder in found:
        shutil.rmtree(folder)


def folders(home: Path) -> list[Path]:
    """Those of all checkpoints, oldest first."""
    return sorted(home.glob("step-*")) if home.is_dir() else []


def _read(folder: Path) -> Checkpoint | None:
    try:
        record = json.loads((folder / SEAL).read_text())
        for name, wanted in record["files"].items():
            path = folder / name
            if path.stat().st_size != wanted["bytes"] or file_digest(path) != wanted["sha256"]:
                return None
        spread, layout = Spread(**record.get("spread", {})), record.get("layout", {})
        return Checkpoint(folder, int(record["step"]), float(record["seconds"]), spread, layout)
    except (OSError, ValueError, KeyError, TypeError):
        return None
