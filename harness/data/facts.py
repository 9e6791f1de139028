"""What planning needs to know of a file, remembered as long as the file does not change."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.canonical import digest, file_digest
from harness.data.formats import opened, rows


@dataclass(frozen=True)
class Facts:
    """A data file's content, as far as a plan is concerned."""

    sha256: str
    rows: int
    columns: tuple[str, ...]
    """Those of the first row."""


def inspect(path: Path, label: str, cache: Path | None, members: Sequence[str] = ()) -> Facts:
    """A data file's facts, from the folder `cache` where path, size and time of change are those seen before.

    Of an archive those of `members`. Raises UserError for a file that cannot be read or parsed, naming the line.
    """

    def look() -> Mapping[str, Any]:
        found = rows(label, path, members)
        first = next(found, None)
        count = 0 if first is None else 1 + sum(1 for _ in found)
        return asdict(Facts(file_digest(path), count, tuple(first.values) if first else ()))

    value = remembered(" ".join(["rows", *members]), path, cache, look)
    return Facts(value["sha256"], value["rows"], tuple(value["columns"]))


def content_digest(path: Path, label: str, cache: Path | None) -> str:
    """SHA-256 of a data file, remembered like `inspect`. Raises UserError for a file that cannot be read."""
    with opened(path, label):
        return file_digest_cached(path, cache)


def file_digest_cached(path: Path, cache: Path | None) -> str:
    """SHA-256 of any file, remembered like `inspect`."""
    digest_: str = remembered("bytes", path, cache, lambda: {"sha256": file_digest(path)})["sha256"]
    return digest_


def remembered(what: str, path: Path, cache: Path | None, look: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `look` finds in a file, from the folder `cache` where the file is the one that was looked at before."""
    try:
        stat = path.stat()
    except OSError:
        return look()
    if cache is None:
        return look()
    entry = cache / f"{digest([what, str(path.resolve()), stat.st_size, stat.st_mtime_ns])}.json"
    # What is remembered only saves time: an entry that cannot be read or written costs nothing but that.
    with contextlib.suppress(OSError, ValueError):
        known: Mapping[str, Any] = json.loads(entry.read_text())
        return known
    value = look()
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as file:
            json.dump(value, file)
        Path(file.name).replace(entry)
    return value
