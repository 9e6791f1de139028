"""The files of the published folder: what the ledger and the rows name is there unchanged, and nothing else is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.board.chain import LEDGER, Chain
from harness.board.ledger import BOARD, LOCKS
from harness.board.rows import Row, row_path
from harness.board.samples import samples_file
from harness.board.schema import FILES, SCHEMAS, schema
from harness.canonical import file_digest

HOSTING = ("README.md", ".gitattributes", ".gitignore")
"""What git and a place that shows folders to people want beside a copy. Nobody checks what they say."""

KEPT = ("README.md", ".gitignore")
"""Those of the leaderboard itself: attributes of git's could hide changed rows from who reviews them."""

SITE = "site"
"""The folder of the site where the board was sent somewhere: it is made of all the rest."""

INTERRUPTED = "if an add was interrupted, run it again or delete this file"
_LEFT = re.compile(r"(rows|samples)/\.?[0-9a-f]{64}\.[\w.]+")
"""What an `add` that ended before its entry leaves, whole or half written."""


def altered(folder: Path, chain: Chain, rows: Iterable[Row]) -> Iterator[str]:
    """Rows that are not those of the ledger, samples whose bytes are not what their name says, and schemas of others.

    Those samples were changed, or hold more than what is ours to publish; absent ones have no number to begin with.
    """
    for row_id, sha256 in dict.fromkeys((entry.row, entry.row_sha256) for entry in chain.entries):
        path = row_path(folder, row_id)
        if path.exists() and file_digest(path) != sha256:
            yield f"rows/{path.name} is not the file that the ledger names"
    named: dict[str, Row] = {}
    for row in rows:
        named |= dict.fromkeys(sample_hashes(row), row)
    for sha256 in sorted(named):
        path = samples_file(folder, sha256)
        if path.exists() and file_digest(path) != sha256:
            yield f"samples/{path.name} has other bytes than its name says"
    for name in FILES:
        path = folder / SCHEMAS / name
        if path.exists() and path.read_bytes() != schema(name).encode():
            yield f"{SCHEMAS}/{name} is not the schema of these files (harness board build {folder})"


def links(folder: Path) -> Iterator[str]:
    """Links among the files: what they lead to can change, and may never end. To be asked before any is read."""
    for file in sorted(_files(folder)):
        if file.is_symlink():
            yield f"{file.relative_to(folder).as_posix()} is a link, and not a file"


def unaccounted(folder: Path, chain: Chain, rows: Iterable[Row], *, copy: bool = False) -> Iterator[str]:
    """Files that no entry of the ledger accounts for, and a `.gitignore` that would keep rows out of a commit.

    A `copy` has its page in it, whose files are left out; elsewhere that is a finding.
    """
    named = {
        LEDGER,
        BOARD,
        *LOCKS,
        *(HOSTING if copy else KEPT),
        *(f"{SCHEMAS}/{name}" for name in FILES),
        *(f"rows/{entry.row}.json" for entry in chain.entries),
        *(f"samples/{sha256}.jsonl" for row in rows for sha256 in sample_hashes(row)),
    }
    if not copy and (folder / SITE).exists():
        yield f"{SITE} is a page, which no check is made of (--copy where harness board publish put it there)"
    for file in sorted(_files(folder)):
        place = file.relative_to(folder).as_posix()
        if place.startswith(f"{SITE}/"):
            continue
        if place not in named:
            remedy = f" ({INTERRUPTED})" if _LEFT.fullmatch(place) else ""
            yield f"{place} is named by no entry of the ledger{remedy}"
        elif place == ".gitignore" and not copy and (more := set(file.read_text().split()) - set(LOCKS)):
            yield f".gitignore keeps {', '.join(sorted(more))} out of commits, and should only {', '.join(LOCKS)}"


def sample_hashes(row: Row) -> set[str]:
    """Names of the row's files of samples."""
    return {part.samples_sha256 for task in row.result.tasks.values() for part in task.seeds}


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        for name in (*files, *(name for name in folders if Path(place, name).is_symlink())):
            yield Path(place, name)
