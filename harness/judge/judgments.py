"""Every bought reply on disk before anyone sees it, so that none is bought twice.

<store>/judgments/<judge>/judge.json       whose replies they are
<store>/judgments/<judge>/<begun>.jsonl    what one process bought, a record a line

<store>/judgments/<judge>/buying.lock      held by the one process that buys, freed by the system when it dies

Each process appends to a file of its own. One at a time buys: whoever comes next first reads what the others bought.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

import filelock
import pydantic

from harness.canonical import Json, canonical
from harness.endpoints.replies import ChatReply
from harness.errors import Failure, HarnessError
from harness.files import explained, sync, write_whole

FOLDER = "judgments"
IDENTITY = "judge.json"
_BUYING = "buying.lock"

_HEADROOM = 4 * 2**20
"""Bytes that must be free before a reply is bought: those in flight, log-probabilities and all, must find room."""


class Record(pydantic.BaseModel):
    """One bought reply."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    key: str
    """`reply_key` of its prompt and attempt."""
    revision: str
    repeat: int
    attempt: int
    outcome: Literal["answered", "refused"]
    reply: ChatReply
    seconds: float
    """From the call that brought it to its end."""
    time: str
    """When it came, UTC."""


@dataclass(frozen=True)
class _Waiting:
    """A record on its way to the disk."""

    record: Record
    line: bytes
    stored: Future[None]


class Judgments:
    """The replies of one judge: those found, and those that this process adds."""

    def __init__(self, store: Path, judge: str, identity: Mapping[str, Json]) -> None:
        self.folder = store / FOLDER / judge
        self._root = store
        self._identity = identity
        self._buying = filelock.FileLock(self.folder / _BUYING, thread_local=False)
        self._read()
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._file: int | None = None
        self._size = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._records.values()))

    def get(self, key: str) -> Record | None:
        """The reply stored under a key."""
        return self._records.get(key)

    def put(self, record: Record) -> Future[None]:
        """Store a reply. The future is done when it is on disk; its exception is a Failure that says why it is not."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="judgments", daemon=True)
            self._writer.start()
        line = f"{canonical(record.model_dump(mode='json'))}\n".encode()
        stored: Future[None] = Future()
        stored.set_running_or_notify_cancel()  # from here on it is written, whoever waits for it or does not
        self._waiting.put(_Waiting(record, line, stored))
        return stored

    def begin_buying(self) -> bool:
        """Become the one process that buys of this judge, and read what others bought; False while another one is.

        It lasts until the judgments are closed.
        """
        if not self._buying.is_locked:
            with explained(self._root):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    self._buying.acquire(blocking=False)
                except filelock.Timeout:
                    return False
            self._read()
        return True

    def check_room(self) -> None:
        """Raise Failure where a reply would find no room."""
        with explained(self._root):
            place = next(parent for parent in (self.folder, *self.folder.parents) if parent.exists())
            disk = os.statvfs(place)
            if disk.f_bavail * disk.f_frsize < _HEADROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        if self._writer is not None:
            self._waiting.put(None)
            self._writer.join()
            self._writer = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._buying.release()

    def _read(self) -> None:
        found = [*read(self.folder)]
        self.paid = [record.reply.usage for record in found]
        """What was charged for all that was found."""
        self._records = {record.key: record for record in reversed(found)}

    def _write_all(self) -> None:
        """The writer thread: all that has come meanwhile is written and synced at once."""
        ended = False
        while not ended:
            lot = [self._waiting.get()]
            while not self._waiting.empty():
                lot.append(self._waiting.get())
            ended = lot[-1] is None
            if records := [waiting for waiting in lot if waiting is not None]:
                self._store(records)

    def _store(self, lot: list[_Waiting]) -> None:
        failure = self._append(b"".join(waiting.line for waiting in lot))
        if failure is None:
            for waiting in lot:
                self._records.setdefault(waiting.record.key, waiting.record)
                waiting.stored.set_result(None)
        elif len(lot) == 1:
            lot[0].stored.set_exception(failure)
        else:  # one that finds room by itself is not lost with the rest
            for waiting in lot:
                self._store([waiting])

    def _append(self, data: bytes) -> HarnessError | None:
        """Write and sync whole lines, or leave the file as it was and say why."""
        try:
            with explained(self._root):
                self._write(data)
        except HarnessError as error:
            return error
        except OSError as error:
            return Failure(f"cannot store judgments in {self.folder}: {error}", "what is stored is kept")
        return None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._begin()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _begin(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / IDENTITY).exists():
            write_whole(self.folder / IDENTITY, canonical(self._identity) + "\n")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.jsonl"
        file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        sync(self.folder)
        return file


def read(folder: Path) -> Iterator[Record]:
    """All whole records of a judge's folder, oldest file first; a line torn by a crash is the last of its file.

    Raises Failure for one damaged otherwise.
    """
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                yield Record.model_validate_json(line)
            except ValueError:
                raise Failure(f"{path}, line {number}, is damaged", "remove that line to ask for it again") from None
