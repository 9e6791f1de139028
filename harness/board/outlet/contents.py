"""What of a published board belongs to it, and what of that another place lacks.

Rows and samples are named by what they hold, and the ledger is only appended to. So a place that holds a beginning of
this ledger can be brought up to date without losing anything, and any other is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.board.chain import LEDGER
from harness.board.filecheck import SITE, sample_hashes
from harness.board.ledger import BOARD
from harness.board.publish import read_row
from harness.board.rows import row_path
from harness.board.samples import samples_file
from harness.board.schema import SCHEMAS
from harness.board.snapshot import snapshot
from harness.canonical import file_digest
from harness.errors import UserError


@dataclass(frozen=True)
class Stored:
    """How another place knows a file: by git's blob id, or by the SHA-256 of what lies in large-file storage."""

    blob: str
    sha256: str | None = None

    def holds(self, content: Content) -> bool:
        """Whether it is this content."""
        return content.sha256 == self.sha256 if self.sha256 is not None else content.blob == self.blob


@dataclass(frozen=True)
class Content:
    """A file of the board: its bytes where it is rewritten in place, else where it lies."""

    source: bytes | Path

    def read(self) -> bytes:
        """Its bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    @property
    def blob(self) -> str:
        """Git's id of it."""
        content = self.read()
        return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()

    @property
    def sha256(self) -> str:
        """Digest of its bytes."""
        return hashlib.sha256(self.source).hexdigest() if isinstance(self.source, bytes) else file_digest(self.source)


Contents = Mapping[str, Content]
"""Path below the board to what stands there."""


@dataclass(frozen=True)
class Changes:
    """What sending the board would do to another place; paths below it, sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything would happen."""
        return bool(self.added or self.changed or self.removed)

    @property
    def sent(self) -> tuple[str, ...]:
        """Paths whose content goes there."""
        return (*self.added, *self.changed)

    def lines(self) -> Iterator[str]:
        """`+ rows/….json`, `~ board.json`, `- page/….html`."""
        for sign, paths in (("+", self.added), ("~", self.changed), ("-", self.removed)):
            yield from (f"{sign} {path}" for path in paths)

    def counts(self) -> str:
        """`12 files added, 2 changed, 1 removed`."""
        said = [(len(self.added), "added"), (len(self.changed), "changed"), (len(self.removed), "removed")]
        counted = [f"{n} {what}" for n, what in said if n]
        return " and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted)


def contents(leaderboards: Path, site: Path | None = None) -> Contents:
    """What belongs to the board: ledger, the rows it names, their samples, the board, schemas, and its site as `site/`.

    Entries that the board does not show yet are left for the next time. Raises as `snapshot` does.
    """
    taken = snapshot(leaderboards)
    found = {LEDGER: Content(taken.ledger), BOARD: Content(taken.board)}
    for row_id in dict.fromkeys(entry.row for entry in taken.chain.entries):
        row = read_row(leaderboards, row_id)
        named = [row_path(leaderboards, row_id), *(samples_file(leaderboards, name) for name in sample_hashes(row))]
        found |= {path.relative_to(leaderboards).as_posix(): Content(path) for path in named}
    found |= _below(leaderboards / SCHEMAS, SCHEMAS)
    found |= {} if site is None else _below(site, SITE)
    return dict(sorted(found.items()))


def _below(folder: Path, name: str) -> dict[str, Content]:
    """All files of a folder, but locks and what is being written."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {f"{name}/{path.relative_to(folder).as_posix()}": Content(path) for path in files}


def changes(there: Mapping[str, Stored], here: Contents) -> Changes:
    """What `here` has that is not `there`, and what of the site there is left over."""
    return Changes(
        added=tuple(path for path in here if path not in there),
        changed=tuple(path for path, content in here.items() if path in there and not there[path].holds(content)),
        removed=tuple(path for path in sorted(there) if path not in here and path.startswith(f"{SITE}/")),
    )


def refuse_another_ledger(there: bytes, here: Contents, place: str) -> None:
    """Raises UserError where the ledger there is no beginning of the one here: its entries would be lost."""
    if not here[LEDGER].read().startswith(there):
        raise UserError(
            f"the ledger in {place} has entries that this one has not",
            "bring that board here first and add to it: a ledger is only ever appended to",
        )


def summary(paths: Iterable[str]) -> str:
    """A commit's message: `Publish 2 rows`, or `Update the board` where none is new."""
    rows = sum(path.startswith("rows/") for path in paths)
    return f"Publish {rows} {'row' if rows == 1 else 'rows'}" if rows else "Update the board"
