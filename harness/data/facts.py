"""What planning needs to know of a data file, remembered as long as the file does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.formats import rows
from harness.errors import UserError


@dataclass(frozen=True)
class Facts:
    """A data file's content, as far as a plan is concerned."""

    sha256: str
    rows: int
    columns: tuple[str, ...]
    """Those of the first row."""


def contents(path: Path, label: str) -> bytes:
    """The file's bytes. Raises UserError for a file that is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"there is no file {label}", "check the path; it is relative to where the command runs"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {label}: {error.strerror}", "check that it is a file you may read") from None


def inspect(path: Path, label: str, cache: Path | None) -> Facts:
    """The file's facts, from the folder `cache` where path, size and time of change are those seen before.

    Raises UserError for a file that cannot be read or parsed, naming the line.
    """
    try:
        stat = path.stat()
    except OSError:
        stat = None
    stamp = [str(path.resolve()), stat.st_size, stat.st_mtime_ns] if stat else None
    entry = cache / f"{hashlib.sha256(json.dumps(stamp).encode()).hexdigest()}.json" if cache and stamp else None
    if entry and (known := _remembered(entry)):
        return known
    content = contents(path, label)
    parsed = list(rows(label, content))
    columns = tuple(parsed[0].values) if parsed else ()
    facts = Facts(hashlib.sha256(content).hexdigest(), len(parsed), columns)
    if entry:
        _remember(entry, asdict(facts))
    return facts


def _remembered(entry: Path) -> Facts | None:
    try:
        value = json.loads(entry.read_text())
        return Facts(value["sha256"], value["rows"], tuple(value["columns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(entry: Path, value: dict[str, Any]) -> None:
    # What is remembered only saves time: a folder that cannot be written costs nothing but that.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=entry.parent, delete=False) as file:
            json.dump(value, file)
        Path(file.name).replace(entry)
