"""A run's output folder.

`leaderboard.json`, `rows/<id>.json`, `samples/<arm>/<benchmark>/<seed>.jsonl`, and the same as a page: `index.html`
with `page/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from harness.board.board import Board, build_board, write_board
from harness.board.build import arm_samples, build_row
from harness.board.files import model_json, write_atomically
from harness.board.folders import RUN_BOARD, refuse_published
from harness.board.inputs import ArmRun, RunInfo
from harness.board.intervals import Scores
from harness.board.rows import Row, row_path
from harness.board.samples import Sample, publishable, read_samples, scores_by_item
from harness.board.site.write import write_site
from harness.board.versions import read_json
from harness.errors import UserError
from harness.files import file_name


def write_run(folder: Path, arms: Sequence[ArmRun], run: RunInfo) -> Board:
    """Write everything a run leaves behind, and return its board. Equal inputs leave equal files.

    Raises Failure where a job's samples are not what the job recorded, or the folder cannot be written.
    """
    rows = []
    for arm in arms:
        rows.append(build_row(arm, run, arm_samples(arm)))
        for seed in arm.seeds:
            for benchmark, evaluation in seed.evaluations.items():
                content = (evaluation.folder / "samples.jsonl").read_bytes()
                write_atomically(samples_path(folder, arm.id, benchmark, seed.seed), content)
    board = build_board(rows, lambda row, benchmark, seed: run_scores(folder, row, benchmark, seed))
    _write_page(folder, folder, board, rows)
    write_board(folder, board, rows)  # last, since a folder with a leaderboard.json is taken for complete
    return board


def write_run_site(folder: Path, site: Path) -> None:
    """Write a run's page elsewhere, from its numbers and samples: nothing of the page that it came with goes along.

    Raises UserError where the folder holds no run, Failure where samples cannot be read.
    """
    board = read_board(folder)
    _write_page(folder, site, board, [read_row(folder, line.row) for line in board.lines])
    write_atomically(site / RUN_BOARD, model_json(board))


def _write_page(folder: Path, site: Path, board: Board, rows: Sequence[Row]) -> None:
    write_site(
        site,
        [board],
        {row.id: row for row in rows},
        lambda row, name, seed: publishable(run_samples(folder, row, name, seed)),
        downloads=[RUN_BOARD],
    )


def samples_path(folder: Path, arm: str, benchmark: str, seed: int) -> Path:
    """Where the samples of one evaluation lie."""
    return folder / "samples" / file_name(arm) / quote(benchmark, safe="") / f"{seed}.jsonl"


def run_samples(folder: Path, row: Row, benchmark: str, seed: int) -> list[Sample]:
    """The samples behind one number of a run's row."""
    return read_samples(samples_path(folder, row.result.arm, benchmark, seed))


def run_scores(folder: Path, row: Row, benchmark: str, seed: int) -> Scores:
    """Item to score, for pairing."""
    return scores_by_item(run_samples(folder, row, benchmark, seed), row.result.tasks[benchmark].score_name)


def read_board(folder: Path) -> Board:
    """A run folder's board. Raises UserError where the folder holds none."""
    path, remedy = folder / RUN_BOARD, "give the output folder of a finished run"
    refuse_published(folder, remedy)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{folder} holds no leaderboard: {error.strerror}", remedy) from error
    return read_json(Board, content, name=str(path), what="a leaderboard", remedy="run again to write it anew")


def read_row(folder: Path, row_id: str) -> Row:
    """A row by its id. Raises UserError where it is absent, newer than this code, or its id is not its digest."""
    path = row_path(folder, row_id)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "give a folder that holds its rows") from error
    return read_json(Row, content, name=str(path), what="a row", remedy="restore it, or run again")
