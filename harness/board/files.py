"""The board's files: written whole, or refused in words."""

from __future__ import annotations

from pathlib import Path

import pydantic

from harness.errors import Failure
from harness.files import write_whole


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a whole file, as `write_whole` does. Raises Failure naming the path and the system's reason."""
    try:
        write_whole(path, content, lasting=lasting)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", "make room or choose another folder") from error


def model_json(model: pydantic.BaseModel) -> bytes:
    """A model as the JSON file people will read and diff: indented, keys in the order of its fields."""
    return (model.model_dump_json(indent=2) + "\n").encode()
