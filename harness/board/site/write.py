"""Writing a site: a reader sees the old one or the new one, wherever the writing ends.

`index.html` names the pages of data that it loads, and these are named by what they hold. So new pages come first,
then the index, and what no index names any more goes last.

A power cut may take pages that were written shortly before it. They are compared with what they should be whenever the
site is written again, which so mends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.board.board import Board
from harness.board.files import model_json, write_atomically
from harness.board.folders import INDEX
from harness.board.rows import Row
from harness.board.site.content import NO_HISTORY, History, Rows, board_content, ledger_content
from harness.board.site.pages import data_page, index_page
from harness.canonical import canonical
from harness.errors import UserError

PAGES = "page"
"""The folder beside `index.html` with the pages of data."""

DOWNLOADS = {
    "leaderboard.json": "the numbers of this page",
    "board.json": "ranks, scores, intervals and differences",
    "board.csv": "the same for a spreadsheet, a line for each row and benchmark",
    "ledger.jsonl": "what was published, replaced and retracted, as a chain of digests",
}
"""Files that may lie beside the page, so that a site can be put anywhere by itself, and what each is."""

PublishableOf = Callable[[Row, str, int], bytes]
"""Row, benchmark and seed to its samples, as `publishable` has them."""


class _Pages:
    """The pages of data of one site; each is named by what it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / PAGES
        self._named: set[str] = set()
        self._samples: dict[str, str] = {}

    def samples(self, sha256: str, read: Callable[[], bytes]) -> str:
        """The address of the page with the samples of that digest, which are read where none has them yet."""
        if sha256 not in self._samples:
            self._samples[sha256] = self.write(read())
        return self._samples[sha256]

    def write(self, content: bytes) -> str:
        """Write a page, unless it is there already, and return its address in the site."""
        page = data_page(content).encode()
        name = f"{hashlib.sha256(page).hexdigest()[:32]}.html"
        path = self._folder / name
        if name not in self._named and not (path.exists() and path.read_bytes() == page):
            write_atomically(path, page, lasting=False)
        self._named.add(name)
        return f"{PAGES}/{name}"

    def drop_others(self) -> None:
        """Remove pages of an earlier site, which nothing names any more."""
        for path in self._folder.glob("*.html"):
            if path.name not in self._named:
                path.unlink(missing_ok=True)


def write_site(
    folder: Path,
    boards: Sequence[Board],
    rows: Mapping[str, Row],
    publishable_of: PublishableOf,
    *,
    history: History = NO_HISTORY,
    downloads: Sequence[str] = (),
) -> None:
    """Write `index.html` and its pages of data. `rows` are by id: those of the boards and of the history.

    `downloads` are those of `DOWNLOADS` that lie in the folder. Raises Failure where the folder cannot be written,
    UserError where its pages would lie behind a link.
    """
    if (folder / PAGES).is_symlink():
        raise UserError(f"{folder / PAGES} is a link, and pages are removed where it leads to", "remove the link")
    pages = _Pages(folder)
    places = {row_id: pages.write(_row_content(row, publishable_of, pages)) for row_id, row in rows.items()}
    known = Rows(rows, places, history)
    content = {
        "boards": [board_content(board, known) for board in boards],
        "ledger": ledger_content(known),
        "downloads": [{"name": name, "about": DOWNLOADS[name]} for name in downloads],
    }
    write_atomically(folder / INDEX, index_page(content).encode())
    pages.drop_others()


def _row_content(row: Row, publishable_of: PublishableOf, pages: _Pages) -> bytes:
    """The row's file as it is, and where its samples lie."""
    samples = {
        part.samples_sha256: pages.samples(part.samples_sha256, partial(publishable_of, row, name, part.seed))
        for name, task in row.result.tasks.items()
        for part in task.seeds
    }
    return canonical({"row": model_json(row).decode(), "samples": samples}).encode()
