"""The ledger's file: an entry a line, each holding the SHA-256 of the line before it.

Entries are appended, one write and one fsync each, by whoever holds the folder's lock. So an entry costs the same
however many there are, and none is ever written again. A writer that is killed in the middle leaves a last line that is
no entry. Its command has not returned, so nobody relies on it: readers pass over it, and the next writer cuts it off.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from harness.board.numbers import Part, Sha256
from harness.board.versions import read_json
from harness.canonical import canonical
from harness.errors import Failure
from harness.files import sync

LEDGER = "ledger.jsonl"

GENESIS = "0" * 64
"""The predecessor of the first entry."""

RESTORE = "the ledger is only ever appended to: restore it from version control"


def _is_a_time(at: str) -> str:
    if datetime.fromisoformat(at).utcoffset() is None:
        raise ValueError("the time has no zone")
    return at


class Entry(Part):
    """One line of the ledger."""

    schema_version: Literal[1] = 1
    kind: Literal["add", "supersede", "retract"]
    row: Sha256
    """The row that is published, or retracted."""
    row_sha256: Sha256
    """Of the row's file, `measured` included."""
    supersedes: Sha256 | None = None
    """The row that this one replaces."""
    reason: str = ""
    """Why a row is superseded or retracted."""
    at: Annotated[str, pydantic.AfterValidator(_is_a_time)]
    """UTC, ISO 8601."""
    previous: Sha256
    """SHA-256 of the line before, without its line break."""

    def line(self) -> bytes:
        """The entry as it stands in the ledger, without its line break."""
        return canonical(self.model_dump(mode="json")).encode()

    @property
    def digest(self) -> str:
        """What the next entry holds as `previous`."""
        return hashlib.sha256(self.line()).hexdigest()


@dataclass(frozen=True)
class Chain:
    """The ledger as it was read: whole entries, oldest first."""

    entries: tuple[Entry, ...] = ()
    digests: tuple[str, ...] = ()
    """SHA-256 of each entry's line."""
    size: int = 0
    """Bytes of the whole entries' lines."""
    ended: bool = True
    """The last of them has its line break."""
    torn: bool = False
    """Behind them stands a line that was not written to its end."""

    @property
    def head(self) -> str:
        """What the next entry holds as `previous`."""
        return self.digests[-1] if self.digests else GENESIS

    def standing(self) -> list[str]:
        """Ids of the rows on the board: published, and neither superseded nor retracted."""
        rows: dict[str, None] = {}
        for entry in self.entries:
            if entry.kind == "retract":
                rows.pop(entry.row, None)
            else:
                rows[entry.row] = None
                rows.pop(entry.supersedes or "", None)
        return list(rows)

    def retracted(self) -> dict[str, str]:
        """Ids of the rows that were retracted, and why."""
        return {entry.row: entry.reason for entry in self.entries if entry.kind == "retract"}

    def behind(self, head: str) -> int:
        """How many entries came after the one with that digest; all of them for `GENESIS`."""
        return len(self.digests) if head == GENESIS else self.digests[::-1].index(head)


def read_chain(leaderboards: Path) -> Chain:
    """The ledger. Raises Failure naming the line where the chain is broken, UserError where the ledger is newer."""
    path = leaderboards / LEDGER
    return parse_chain(path.read_bytes() if path.exists() else b"", path)


def parse_chain(content: bytes, path: Path) -> Chain:
    """The ledger that a file of that content is. Raises as `read_chain` does."""
    *lines, last = content.split(b"\n")
    entries, digests, previous = [], [], GENESIS
    for number, line in enumerate(lines, start=1):
        entry = read_json(Entry, line, name=f"{path}:{number}", what="an entry", remedy=RESTORE, otherwise=Failure)
        if entry.previous != previous:
            raise Failure(f"{path}:{number} does not follow from the line before it", RESTORE)
        previous = hashlib.sha256(line).hexdigest()
        entries.append(entry)
        digests.append(previous)
    chain = Chain(tuple(entries), tuple(digests), size=len(content) - len(last))
    return _with_last(chain, last) if last else chain


def append(leaderboards: Path, chain: Chain, entry: Entry) -> Chain:
    """Write the entry behind the chain, which is the ledger as the holder of the lock has read it; return the longer.

    It lasts through a power cut when this returns.
    """
    path = leaderboards / LEDGER
    line = entry.line()
    with path.open("ab") as file:
        file.truncate(chain.size)
        file.write((b"" if chain.ended else b"\n") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    if not chain.entries:
        sync(leaderboards)
    digests = (*chain.digests, hashlib.sha256(line).hexdigest())
    return Chain((*chain.entries, entry), digests, size)


def _with_last(chain: Chain, last: bytes) -> Chain:
    """The chain with a last line that lacks its line break: an entry, or what was written of one."""
    try:
        entry = Entry.model_validate_json(last)
    except pydantic.ValidationError:
        return replace(chain, torn=True)
    if entry.previous != chain.head:
        return replace(chain, torn=True)
    digests = (*chain.digests, hashlib.sha256(last).hexdigest())
    return Chain((*chain.entries, entry), digests, chain.size + len(last), ended=False)
