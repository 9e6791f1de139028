"""The published leaderboard's site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.board.chain import LEDGER
from harness.board.export.selection import Told, selected
from harness.board.export.spreadsheet import as_csv
from harness.board.files import write_atomically
from harness.board.folders import INDEX
from harness.board.ledger import BOARD, read_published
from harness.board.publish import read_row
from harness.board.samples import publishable, read_samples, samples_file
from harness.board.site.content import Event, History
from harness.board.site.write import write_site
from harness.board.snapshot import snapshot
from harness.canonical import file_digest
from harness.errors import Failure
from harness.files import explained, held

ELSEWHERE = "harness board build --site"
"""What gives the site another place; of the commands that write one, none other can."""


def beside(leaderboards: Path) -> Path:
    """Where the site goes if nobody says: not into `leaderboards/`, which holds only what its ledger names."""
    folder = leaderboards.resolve()
    return folder.with_name(f"{folder.name}-site")


def write_published_site(leaderboards: Path, site: Path) -> None:
    """Write the site of `board.json`, with the rows that were superseded or retracted in its log.

    Raises UserError where there is no board, Failure where the site cannot be written.
    """
    with _alone(site):  # and so with the newest board, whoever else waited
        _write(leaderboards, site)


def renew_beside(leaderboards: Path) -> Path | None:
    """Write the site beside the board anew where one was built of another board; return where that is."""
    site = beside(leaderboards)
    if not (site / INDEX).exists():
        return None
    if read_published(leaderboards).ledger.encode() in (site / INDEX).read_bytes():  # the entry it was made from
        return None
    write_published_site(leaderboards, site)
    return site


def _write(leaderboards: Path, site: Path) -> None:
    taken = snapshot(leaderboards)
    published, entries = taken.published, taken.chain.entries
    rows = {entry.row: read_row(leaderboards, entry.row) for entry in entries}
    history = History(
        events=tuple(Event(entry.kind, entry.row, entry.at, entry.reason, entry.supersedes) for entry in entries),
        head=published.ledger,
    )
    files = {BOARD: taken.board, LEDGER: taken.ledger}
    if published.boards:
        spreadsheet = as_csv(selected(leaderboards, taken), Told())
        files |= {name: content.encode() for name, content in spreadsheet.files.items()}
    for name, content in files.items():
        write_atomically(site / name, content)
    write_site(
        site,
        published.boards,
        rows,
        lambda row, name, seed: _publishable(samples_file(leaderboards, row.result.part(name, seed).samples_sha256)),
        history=history,
        downloads=list(files),
    )


def _publishable(path: Path) -> bytes:
    """The samples of a file: all of it where its name is its digest, or else what of it may be published."""
    if path.exists() and file_digest(path) == path.stem:
        return path.read_bytes()
    return publishable(read_samples(path))


@contextmanager
def _alone(site: Path) -> Iterator[None]:
    """One writer of a site at a time: each removes the pages that its own index does not name."""
    try:
        site.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(
            f"{site} cannot be written: {error.strerror}", f"choose another folder with {ELSEWHERE}"
        ) from error
    with explained(site, ELSEWHERE), held(site / ".lock"):
        yield
