"""Rows by what people call them: arms of a run folder, published rows, and where their samples lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board.chain import LEDGER
from harness.board.compare import ScoresOf
from harness.board.folders import RUN_BOARD, refuse_published
from harness.board.intervals import Scores
from harness.board.ledger import published_rows, published_samples, row_beginning
from harness.board.publish import read_board, read_row, run_samples
from harness.board.rows import Row
from harness.board.samples import scores_by_item
from harness.discovery import suggestion
from harness.errors import UserError

RUNS = Path("runs")
"""Where a run is looked for by its name."""
_ID = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Source:
    """A row and the folder that holds its samples."""

    row: Row
    folder: Path
    published: bool

    def scores(self, benchmark: str, seed: int) -> Scores:
        """Item to score of one evaluation."""
        read = published_samples if self.published else run_samples
        return scores_by_item(read(self.folder, self.row, benchmark, seed), self.row.result.tasks[benchmark].score_name)


def sources(names: Sequence[str], run: Path | None, leaderboards: Path) -> list[Source]:
    """What the names mean, in their order.

    A name is an arm of `run` where that is given. Else it is a run folder or its name in `runs/`, for all its arms;
    `RUN:ARM`; the beginning of a published row's id; or an arm of which one row is published. Without names, all arms
    of `run`.

    Raises UserError for a name that means nothing, or several things.
    """
    if run is not None:
        refuse_published(run, f"name arms or rows of it, with --board {run} in place of --run")
        found = _arms(_run_folder(str(run)) or run)  # the latter says what it lacks
        return [_arm(found, name, str(run)) for name in names] if names else list(found.values())
    return [one for name in names for one in _named(name, leaderboards)]


def scores_from(found: Sequence[Source]) -> ScoresOf:
    """What the items of these rows scored."""
    by_row = {one.row.id: one for one in found}
    return lambda row, benchmark, seed: by_row[row.id].scores(benchmark, seed)


def _named(name: str, leaderboards: Path) -> list[Source]:
    if folder := _run_folder(name):
        return list(_arms(folder).values())
    run, _, arm = name.rpartition(":")
    if run and (folder := _run_folder(run)):
        return [_arm(_arms(folder), arm, run)]
    if Path(name).is_dir():
        refuse_published(
            Path(name), f"name arms or rows of it, with --board {name}; harness board show {name} lists them"
        )
        read_board(Path(name))  # which says what it lacks
    if not (leaderboards / LEDGER).exists():
        raise UserError(
            f"{name!r} is no run folder, and {leaderboards} no published leaderboard that could hold it",
            "name a run with --run DIR where it is one of its arms, or a leaderboard with --board DIR",
        )
    rows = [row for row in published_rows(leaderboards).values() if row.result.arm == name]
    if len(rows) > 1:
        raise UserError(f"{leaderboards} holds {len(rows)} rows of {name}", f"name one: {_ids(rows)}")
    if not rows and not _ID.fullmatch(name):
        arms = sorted({row.result.arm for row in published_rows(leaderboards).values()})
        raise UserError(f"{name!r} is neither a run folder nor an arm of {leaderboards}", suggestion(name, arms))
    return [Source(rows[0] if rows else row_beginning(name, leaderboards), leaderboards, published=True)]


def _run_folder(name: str) -> Path | None:
    return next((folder for folder in (Path(name), RUNS / name) if (folder / RUN_BOARD).is_file()), None)


def _arms(folder: Path) -> dict[str, Source]:
    """The rows of a run in the order of its board, by arm."""
    return {line.arm: Source(read_row(folder, line.row), folder, published=False) for line in read_board(folder).lines}


def _arm(arms: dict[str, Source], name: str, run: str) -> Source:
    if name not in arms:
        raise UserError(f"the run {run} has no arm {name!r}", suggestion(name, list(arms)))
    return arms[name]


def _ids(rows: Sequence[Row]) -> str:
    return ", ".join(row.id[:12] for row in rows)
