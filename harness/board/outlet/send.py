"""Sending a published board: only one that checks, only what is missing there, and nothing over others' entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from harness.board.chain import LEDGER
from harness.board.check import check_leaderboards
from harness.board.ledger import refuse_unpublished
from harness.board.outlet.contents import (
    Changes,
    Contents,
    Stored,
    changes,
    contents,
    refuse_another_ledger,
    summary,
)
from harness.board.outlet.git import GitFolder
from harness.board.outlet.hub import PREFIX, HubDataset
from harness.board.site.published import write_published_site
from harness.errors import Failure, UserError


class Outlet(Protocol):
    """A place that holds a board, or will."""

    name: str
    own: bool
    """It is the folder that is sent."""

    def refuse_others(self, here: Contents) -> None:
        """Raises UserError where something lies there that was not committed and is not what `here` has."""

    def stored(self) -> Mapping[str, Stored]:
        """Every file there, by its path."""

    def ledger(self) -> bytes:
        """The ledger there, which is among `stored`."""

    def send(self, changes: Changes, here: Contents, message: str) -> str:
        """Commit the changes at once; the commit's id."""

    def push(self) -> None:
        """Bring what is committed to where the place itself came from."""


@dataclass(frozen=True)
class Delivery:
    """A board that checks, the place it goes to, and what would change there."""

    outlet: Outlet
    contents: Contents
    changes: Changes

    def send(self, message: str | None) -> str:
        """Commit it; the commit's id."""
        return self.outlet.send(self.changes, self.contents, message or summary(self.changes.added))


@contextmanager
def prepared(leaderboards: Path, target: str) -> Iterator[Delivery]:
    """What sending the board to `hf://datasets/OWNER/NAME` or to a folder of a git clone would do. Changes nothing.

    Its site is made anew, and goes along unless the folder is the board's own, which keeps its site beside it.

    Raises Failure for a board that does not check, UserError where the place is none or holds another ledger.
    """
    refuse_unpublished(leaderboards)
    if findings := check_leaderboards(leaderboards, copy=True):  # its site is made anew
        raise Failure(
            f"{leaderboards} does not hold, so it is not sent: {findings[0]}", f"harness board check {leaderboards}"
        )
    if "://" in target and not target.startswith(PREFIX):
        raise UserError(f"{target} is nowhere that boards are sent to", f"write {PREFIX}OWNER/NAME, or a git folder")
    outlet: Outlet = HubDataset(target) if target.startswith(PREFIX) else GitFolder(Path(target), leaderboards)
    with TemporaryDirectory() as site:
        if not outlet.own:
            write_published_site(leaderboards, Path(site))
        here = contents(leaderboards, None if outlet.own else Path(site))
        outlet.refuse_others(here)
        stored = outlet.stored()
        if LEDGER in stored:
            refuse_another_ledger(outlet.ledger(), here, outlet.name)
        yield Delivery(outlet, here, changes(stored, here))
