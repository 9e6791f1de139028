"""What the ledger tells: entries that make sense one after another, and none that were there before and are not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from harness.board.chain import LEDGER, RESTORE, Entry, parse_chain
from harness.errors import UserError

_CLOCKS_DIFFER = timedelta(days=1)


def contradictions(entries: Sequence[Entry]) -> Iterator[str]:
    """Entries that nothing on the board calls for: a row published twice, a row retracted that is not there.

    And entries that are older than the one before. Clocks differ, and so a day is let pass.
    """
    seen: set[str] = set()
    latest: datetime | None = None
    standing: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        where, row = f"{LEDGER}:{number}: row {entry.row[:12]}", entry.row
        gone = entry.row if entry.kind == "retract" else entry.supersedes
        at = datetime.fromisoformat(entry.at)
        if latest is not None and at < latest - _CLOCKS_DIFFER:
            yield f"{where} is of {entry.at}, before the entries above it"
        latest = max(at, latest or at)
        if entry.kind != "retract" and row in seen:
            yield f"{where} is published a second time"
        if (entry.kind == "supersede") != (entry.supersedes is not None):
            yield f"{where} is of the kind {entry.kind}, and supersedes {entry.supersedes and entry.supersedes[:12]}"
        if gone is not None and gone not in standing:
            yield f"{where} takes {gone[:12]} off the board, where it is not"
        if entry.kind != "add" and not entry.reason:
            yield f"{where} takes a row off the board without a reason"
        if gone is not None:
            standing.discard(gone)
        if entry.kind != "retract":
            seen.add(row)
            standing.add(row)


def rewritten(leaderboards: Path, since: str) -> Iterator[str]:
    """Where the ledger does not go on from what it was: in another file or folder, or in a commit.

    Raises UserError where that is neither, Failure where the older ledger is damaged.
    """
    if leaderboards.is_symlink():
        yield f"{leaderboards} is a link, and not a folder of its own"
    before = _older(leaderboards, since)
    size = parse_chain(before, Path(LEDGER)).size
    now = (leaderboards / LEDGER).read_bytes()
    if now[:size] == before[:size]:
        return
    old, new = before[:size].split(b"\n"), now.split(b"\n")
    changed = next((n for n, (a, b) in enumerate(zip(old, new, strict=False), start=1) if a != b), len(new))
    yield f"{LEDGER}:{changed} is not what it was in {since} ({RESTORE})"


def _older(leaderboards: Path, since: str) -> bytes:
    """The ledger in that file, folder or commit; empty where the folder or commit has none yet."""
    path = Path(since)
    if since and path.is_dir():  # Path("") is where we are
        path /= LEDGER
        return path.read_bytes() if path.exists() else b""
    if path.is_file():
        return path.read_bytes()
    commit = _git(leaderboards, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}")
    if commit is None:
        raise UserError(
            f"{since} is no file, no folder, and no commit of the checkout that holds {leaderboards}",
            "give an older ledger.jsonl, or a branch or commit that has been fetched",
        )
    listed = _git(leaderboards, "ls-tree", commit.decode().strip(), f"./{LEDGER}")
    return (_git(leaderboards, "show", f"{commit.decode().strip()}:./{LEDGER}") if listed else None) or b""


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints of the checkout that holds the folder; None where it refuses, or is not there."""
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
