"""Writing files so that a reader sees the old one or the new one, and a crash leaves no half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pydantic

from harness.errors import Failure


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the path, flush to disk, rename over it. Raises Failure naming the path and the system's reason."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise Failure(f"{path} cannot be written: {error.strerror}", "make room or choose another folder") from error


def sync_folder(folder: Path) -> None:
    """Make renames and appends in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def model_json(model: pydantic.BaseModel) -> bytes:
    """A model as the JSON file people will read and diff: indented, keys in the order of its fields."""
    return (model.model_dump_json(indent=2) + "\n").encode()
