"""The rows that are exported: all of a run's folder or of the published one, or those that were named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from harness.board import text
from harness.board.board import Board, Line
from harness.board.chain import Chain
from harness.board.compare import ScoresOf
from harness.board.folders import is_published
from harness.board.intervals import Interval, Scores
from harness.board.ledger import published_samples
from harness.board.publish import read_board, read_row, run_scores
from harness.board.rows import Row, row_path
from harness.board.samples import scores_by_item
from harness.board.snapshot import Snapshot, snapshot
from harness.errors import UserError

UNTRAINED = "base"
"""The plug-in of an arm that is its starting model, and nothing else."""

_SHORT = 12
_LONG = 80

Relationship = Literal["first_party", "third_party", "collaborative", "other"]


@dataclass(frozen=True)
class HubDataset:
    """Where a benchmark's items lie on the Hugging Face Hub."""

    id: str
    revision: str | None = None
    task: str | None = None
    """As the dataset's own `eval.yaml` calls it."""


@dataclass(frozen=True)
class Told:
    """What no row knows, and whoever exports it can say."""

    organization: str | None = None
    """Who publishes the numbers."""
    relationship: Relationship | None = None
    """What the evaluator is to the model; None: first party where the row's own run trained it, else other."""
    source: str | None = None
    """Address of the board or of the run."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Id of a row to the hub id under which its model was published."""
    datasets: Mapping[str, HubDataset] = field(default_factory=dict)
    """Benchmark to the hub dataset of its items."""


@dataclass(frozen=True)
class Selection:
    """Boards with the chosen lines alone, and their rows."""

    boards: tuple[Board, ...]
    baselines: Mapping[str, Line]
    """Lines that chosen ones are compared with and that are not chosen themselves, by row id."""
    rows: Mapping[str, Row]
    """Those chosen, by id."""
    recorded: Mapping[str, int]
    """Row id to when it was published, or its file written: seconds since 1970, UTC."""
    scores_of: ScoresOf

    def lines(self) -> list[tuple[Board, Line, Row]]:
        """Every chosen line with its board and its row."""
        return [(board, line, self.rows[line.row]) for board in self.boards for line in board.lines]


@dataclass(frozen=True)
class Export:
    """Files by name, and in words what could not be put into them."""

    files: Mapping[str, str]
    left_out: tuple[str, ...] = ()


Format = Callable[[Selection, Told], Export]


def select(folder: Path, chosen: Sequence[str] = ()) -> Selection:
    """The rows of a run folder or of a published board; of them those named by arm or the beginning of their id.

    Raises UserError where there is no board, or a name fits no row, Failure where its ledger has lost entries.
    """
    return selected(folder, snapshot(folder) if is_published(folder) else None, chosen)


def selected(folder: Path, taken: Snapshot | None, chosen: Sequence[str] = ()) -> Selection:
    """As `select`, of a published board as it was `taken`, or of a run folder."""
    boards = taken.published.boards if taken else (read_board(folder),)
    lines = [line for board in boards for line in board.lines]
    if not lines:
        raise UserError(f"{folder} has no rows", "harness board add publishes a run's rows")
    for name in chosen:
        if not any(_named(line, name) for line in lines):
            raise UserError(f"{folder} has no row {name!r}", f"it has {', '.join(sorted({x.arm for x in lines}))}")
    wanted = {line.row for line in lines if not chosen or any(_named(line, name) for name in chosen)}
    kept = [
        board.model_copy(update={"lines": tuple(line for line in board.lines if line.row in wanted)})
        for board in boards
    ]
    against = {line.baseline for line in lines if line.row in wanted}
    at = _published_at(taken.chain) if taken else {row: _written_at(folder, row) for row in wanted}
    return Selection(
        boards=tuple(board for board in kept if board.lines),
        baselines={line.row: line for line in lines if line.row in against - wanted},
        rows={row_id: read_row(folder, row_id) for row_id in sorted(wanted)},
        recorded={row: at[row] for row in wanted},
        scores_of=_scores_of(folder, published=taken is not None),
    )


def models_told(selection: Selection, named: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Row ids to the hub ids that are told for an arm or the beginning of a row's id.

    Raises UserError where such a name fits none of the chosen rows or several, or a row is told twice.
    """
    models: dict[str, str] = {}
    lines = [line for _, line, _ in selection.lines()]
    for name, hub_id in named:
        found = [line for line in lines if _named(line, name)]
        if not found:
            arms = ", ".join(sorted({line.arm for line in lines}))
            raise UserError(f"--model: there is no row {name!r} among those exported", f"there is {arms}")
        if len(found) > 1:
            rows = ", ".join(sorted(line.row[:_SHORT] for line in found))
            raise UserError(
                f"--model: {name!r} names {len(found)} rows", f"name one by the beginning of its id: {rows}"
            )
        if models.setdefault(found[0].row, hub_id) != hub_id:
            raise UserError(f"--model: the row of {found[0].arm} has two models", "give each row one")
    return models


def _named(line: Line, name: str) -> bool:
    return bool(name) and (line.arm == name or line.row.startswith(name))


def _scores_of(folder: Path, *, published: bool) -> ScoresOf:
    def published_scores(row: Row, benchmark: str, seed: int) -> Scores:
        found = published_samples(folder, row, benchmark, seed)
        return scores_by_item(found, row.result.tasks[benchmark].score_name)

    return published_scores if published else lambda row, name, seed: run_scores(folder, row, name, seed)


def _published_at(chain: Chain) -> dict[str, int]:
    added = [entry for entry in chain.entries if entry.kind != "retract"]
    return {entry.row: int(datetime.fromisoformat(entry.at).timestamp()) for entry in added}


def _written_at(folder: Path, row: str) -> int:
    try:
        return int(row_path(folder, row).stat().st_mtime)
    except OSError as error:
        raise UserError(f"rows/{row}.json cannot be read", "give a folder that holds its rows") from error


# --- what several formats say of a row ------------------------------------------------------------------------------


def file_name(line: Line, ending: str) -> str:
    """`dmt+im-0095630d96d6.json`."""
    return f"{quote(line.arm, safe='+=@~,')[:_LONG]}-{line.row[:_SHORT]}{ending}"


def trained(row: Row) -> bool:
    """Whether the row's own run made the model, and did not take it as it was."""
    return any(seed.stages or seed.merge for seed in row.result.seeds)


def hub_model(row: Row, told: Told) -> str | None:
    """The hub id of the row's model: as told, or of a model that was taken from there as it is.

    A plug-in may change what a model is asked or how it answers, even where nothing is trained: those numbers are not
    the model's own.
    """
    plain = not trained(row) and [plugin.name for plugin in row.result.plugins] == [UNTRAINED]
    return told.models.get(row.id) or (base_model(row) if plain else None)


def base_model(row: Row) -> str | None:
    """The hub id of the model it started from; None for a folder, a server's model, or one made on the spot."""
    model = row.result.model
    return None if model.get("server") or model.get("init") else model.get("id")


def model_name(row: Row, told: Told) -> str:
    """The model's hub id, or where it has none the arm and its row: `dmt+im@0095630d96d6`."""
    return hub_model(row, told) or f"{row.result.arm}@{row.id[:_SHORT]}"


def shown(value: float, out_of: float) -> float:
    """A share on its benchmark's scale, without the last bits of the multiplication."""
    return round(value * out_of, 9)


def judge_of(row: Row, benchmark: str) -> Any:
    """Who judged the benchmark, as the row has it; None where nobody did."""
    return row.result.seeds[0].evaluations[benchmark].prompts.get("judge")


def interval_in_words(interval: Interval | None, out_of: float) -> str:
    """`95 % interval [91.0, 95.1]`."""
    return f"{100 * interval.level:g} % interval {text.interval(interval, out_of)}" if interval else "no interval"


def seeds_in_words(row: Row) -> str:
    """`seed 0`, `3 seeds`."""
    seeds = [seed.seed for seed in row.result.seeds]
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
