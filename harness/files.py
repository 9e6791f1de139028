"""Files that are whole or absent, locks on what one process makes, and a disk's refusals in words."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import filelock

from harness.errors import Failure

_BETWEEN_WORDS = 2.0
_LONGEST = 200
"""Bytes of a part of a path; file systems take 255, some of them fewer."""
_BEGINNING = 150
"""Of a longer one."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.\w+)?")
"""How `replacing` names them."""


@contextmanager
def explained(place: Path, option: str = "--store") -> Iterator[None]:
    """Turn a full disk, a read-only place and missing rights into one line; everything finished is still there.

    `option` is what gives another place. Errors that name a file elsewhere pass: this place is not to blame for them.
    """
    try:
        yield
    except OSError as error:
        if _elsewhere(error, place):
            raise
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Failure(
                f"the disk that holds {place} is full",
                f"free some space, or give another place with {option}; the same command then goes on",
            ) from error
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise Failure(f"{place} cannot be written", f"make it writable, or give another with {option}") from error
        raise


def _elsewhere(error: OSError, place: Path) -> bool:
    """Whether it names files, and none at this place: of a copy that failed, it names both ends."""
    named = [name for name in (error.filename, error.filename2) if isinstance(name, str | Path)]
    return bool(named) and not any(Path(name).absolute().is_relative_to(place.absolute()) for name in named)


def file_name(name: str) -> str:
    """A name as one part of a path, `/` and the like percent-encoded; of a long one its beginning and its digest."""
    quoted = quote(name, safe="+=@~, ")
    if len(quoted) <= _LONGEST:
        return quoted
    return f"{quoted[:_BEGINNING]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def write_whole(path: Path, content: str | bytes, *, private: bool = False, lasting: bool = True) -> None:
    """Write a file that is either the old one or the new one, whenever it is read and whatever happens.

    A `private` one can be read by this user alone. One that is not `lasting` may be gone or empty after a power cut.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, lasting=lasting) as temporary, temporary.open("wb") as file:
        if private:
            os.fchmod(file.fileno(), 0o600)
        file.write(data)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file of any size, as `write_whole` writes one."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A file beside `path` to be written, which then takes its place at once; where anything is raised, nothing does.

    It keeps the ending of `path`, by which writers know the format. What is not `lasting` does not wait for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        if lasting:
            sync(temporary)
        temporary.replace(path)
        if lasting:
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def held(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of that file, alone among all processes; the system frees it when its holder dies.

    `waiting` is called every two seconds of a wait for another holder.
    """
    lock = filelock.FileLock(path, timeout=_BETWEEN_WORDS)
    while True:
        try:
            lock.acquire()
            break
        except filelock.Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what processes left that were killed while `replacing` files of this folder, where nobody writes now."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_words(n: float) -> str:
    """`12 KiB`, `820 MiB`, `31 GiB`."""
    mib = n / 2**20
    if mib < 1:
        return f"{n / 2**10:.0f} KiB"
    if mib < 1000:  # noqa: PLR2004 -- three digits at most
        return f"{mib:.0f} MiB"
    gib = mib / 2**10
    return f"{gib:.1f} GiB" if gib < 10 else f"{gib:.0f} GiB"  # noqa: PLR2004 -- two digits either way
