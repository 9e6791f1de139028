"""Checkpoints that are either whole or not there: sealed with sizes and digests, then made visible by one rename."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.canonical import canonical, file_digest
from harness.files import sync

SEAL = "complete.json"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint after `step` steps and `seconds` of training."""

    folder: Path
    step: int
    seconds: float


def seal(written: Path, home: Path, *, step: int, seconds: float) -> Checkpoint:
    """Turn a freshly written folder into the newest checkpoint of `home`, and drop the older ones.

    Everything reaches the disk before the rename; a crash at any moment leaves the previous checkpoint in place.
    """
    files = {str(path.relative_to(written)): path for path in sorted(written.rglob("*")) if path.is_file()}
    for path in files.values():
        sync(path)
    record = {
        "step": step,
        "seconds": seconds,
        "files": {name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in files.items()},
    }
    (written / SEAL).write_text(canonical(record))
    sync(written / SEAL)
    sync(written)
    folder = home / f"step-{step:09d}"
    shutil.rmtree(folder, ignore_errors=True)
    written.rename(folder)
    sync(home)
    for older in _folders(home):
        if older != folder:
            shutil.rmtree(older)
    return Checkpoint(folder, step, seconds)


def newest(home: Path) -> Checkpoint | None:
    """The newest complete checkpoint; torn ones are passed over."""
    return next((found for folder in reversed(_folders(home)) if (found := _read(folder))), None)


def _folders(home: Path) -> list[Path]:
    return sorted(home.glob("step-*")) if home.is_dir() else []


def _read(folder: Path) -> Checkpoint | None:
    try:
        record = json.loads((folder / SEAL).read_text())
        for name, wanted in record["files"].items():
            path = folder / name
            if path.stat().st_size != wanted["bytes"] or file_digest(path) != wanted["sha256"]:
                return None
        return Checkpoint(folder, int(record["step"]), float(record["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
