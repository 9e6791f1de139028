"""Which kind of folder is meant: a run's output folder, a published leaderboard, or the page that shows one."""

from __future__ import annotations

from pathlib import Path

from harness.board.chain import LEDGER
from harness.errors import UserError

RUN_BOARD = "leaderboard.json"
INDEX = "index.html"
"""Of a page, which may have the ledger beside it."""
ROWS = "rows"
WANTED = "give a run's output folder, or a published leaderboard's"


def is_published(folder: Path) -> bool:
    """Whether it is a published leaderboard. Raises UserError where it is neither that nor a run's output folder."""
    refuse_page(folder)
    published = (folder / LEDGER).is_file()
    if not published and not (folder / RUN_BOARD).is_file():
        raise _neither(folder)
    return published


def refuse_page(folder: Path) -> None:
    """Raises UserError for the folder of a published leaderboard's page, in which the ledger's rows are not."""
    if (folder / LEDGER).is_file() and (folder / INDEX).is_file() and not (folder / ROWS).exists():
        raise UserError(
            f"{folder} is the page of a published leaderboard, and holds no rows",
            f"open {folder / INDEX} in a browser, or give the leaderboard that it was made of",
        )


def refuse_published(folder: Path, remedy: str) -> None:
    """Raises UserError with this remedy for a published leaderboard where a run's output folder is wanted."""
    if (folder / LEDGER).is_file() and not (folder / RUN_BOARD).is_file():
        raise UserError(f"{folder} is a published leaderboard, and no run's output folder", remedy)


def _neither(folder: Path) -> UserError:
    if folder.is_file():
        return UserError(f"{folder} is a file", f"give the folder it lies in: {folder.parent}")
    if not folder.is_dir():
        return UserError(f"there is no folder {folder}", WANTED)
    runs = sorted(path.parent for path in folder.glob(f"*/{RUN_BOARD}"))
    remedy = f"it holds runs: give one of them, such as {runs[0]}" if runs else WANTED
    return UserError(f"{folder} holds neither the {RUN_BOARD} of a run nor the {LEDGER} of a published board", remedy)
