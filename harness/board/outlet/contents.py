"""What of a published board belongs to it, and what of that another place lacks.

Rows and samples are named by what they hold, and the ledger is only appended to. So a place that holds a beginning of
this ledger can be brought up to date without losing anything, and any other is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.board.ledger import read_ledger, read_published
from harness.board.publish import read_row
from harness.board.rows import row_path
from harness.canonical import file_digest
from harness.errors import Failure, UserError

LEDGER = "ledger.jsonl"
BOARD = "board.json"
SITE = ("index.html", "page/*.html")
"""The page and what it loads: made of the rest, and the only files that are ever removed elsewhere."""
SCHEMA = "schema/*.json"


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


def contents(leaderboards: Path) -> Contents:
    """What belongs to the board: ledger, the rows it names, their samples, the board, schemas, the site.

    Raises UserError where the folder holds no ledger, Failure where the board is not that of the ledger.
    """
    if not (leaderboards / LEDGER).exists():
        raise UserError(f"{leaderboards} holds no {LEDGER}", "give a folder that `harness board add` wrote")
    ledger = (leaderboards / LEDGER).read_bytes()
    board = (leaderboards / BOARD).read_bytes()
    entries = read_ledger(leaderboards)
    if not entries or read_published(leaderboards).ledger != entries[-1].digest:
        raise Failure(
            f"{leaderboards / BOARD} is not made of the ledger beside it", f"harness board build {leaderboards}"
        )
    found = {LEDGER: Content(ledger), BOARD: Content(board)}
    for row_id in dict.fromkeys(entry.row for entry in entries):
        row = read_row(leaderboards, row_id)
        hashes = {part.samples_sha256 for task in row.result.tasks.values() for part in task.seeds}
        named = [row_path(leaderboards, row_id), *(leaderboards / "samples" / f"{name}.jsonl" for name in hashes)]
        found |= {path.relative_to(leaderboards).as_posix(): Content(path) for path in named}
    for pattern in (SCHEMA, *SITE):
        for path in leaderboards.glob(pattern):
            if not path.name.startswith("."):  # a file that is being written
                found[path.relative_to(leaderboards).as_posix()] = Content(path)
    return dict(sorted(found.items()))


def changes(there: Mapping[str, Stored], here: Contents) -> Changes:
    """What `here` has that is not `there`, and what of the site there is left over."""
    return Changes(
        added=tuple(path for path in here if path not in there),
        changed=tuple(path for path, content in here.items() if path in there and not there[path].holds(content)),
        removed=tuple(path for path in sorted(there) if path not in here and _of_the_site(path)),
    )


def refuse_another_ledger(there: bytes, here: Contents, place: str) -> None:
    """Raises UserError where the ledger there is no beginning of the one here: its entries would be lost."""
    if not here[LEDGER].read().startswith(there):
        raise UserError(
            f"the ledger in {place} has entries that this one has not",
            "bring that board here first and add to it: a ledger is only ever appended to",
        )


def _of_the_site(path: str) -> bool:
    return any(Path(path).match(pattern) and path.count("/") == pattern.count("/") for pattern in SITE)


def summary(paths: Iterable[str]) -> str:
    """A commit's message: `Publish 2 rows`, or `Update the board` where none is new."""
    rows = sum(path.startswith("rows/") for path in paths)
    return f"Publish {rows} {'row' if rows == 1 else 'rows'}" if rows else "Update the board"
