"""The leaderboard: rows in order of their composite, each compared with its baseline."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pydantic

from harness.api.benchmarks import Missing
from harness.board.compare import (
    ItemsOf,
    ScoresOf,
    baseline_of,
    compare,
    compare_composites,
    items_of,
    oriented,
)
from harness.board.files import model_json, write_atomically
from harness.board.folders import RUN_BOARD
from harness.board.intervals import Interval, macro_interval
from harness.board.marks import LEVEL, MARGIN, Comparison, benjamini_hochberg, holm, marked_comparisons
from harness.board.numbers import Part, TaskResult
from harness.board.rows import Group, Row, device_hours, row_path

if TYPE_CHECKING:
    from harness.board.ranks import Standing

MISSING: tuple[str, ...] = get_args(Missing)


class Cell(Part):
    """An arm's score on one benchmark, on a group of them, or on all."""

    score: float | None
    interval: Interval | None
    items: int
    """As each seed was asked them."""
    n_missing: int
    """Summed over the seeds, like the three below."""
    prompts_cut: int = 0
    """Prompts that did not fit the context and lost tokens."""
    stopped_by_length: int = 0
    """Answers cut off by the limit on new tokens."""
    unparsed: int = 0
    """Complete answers in which the benchmark's filter found none."""
    alike: int = pydantic.Field(0, exclude_if=operator.not_)
    """Items of a judged benchmark with one and the same answer, where they are more than half."""
    unscored: dict[str, int] = pydantic.Field(default_factory=dict, exclude_if=lambda counts: not counts)
    """Missing items by what failed: `judge_unparsed`, `sandbox_failure` and so on."""
    comparison: Comparison | None


class Line(Part):
    """A row in its place on the board."""

    rank: int | None
    """From 1; equal composites share a rank; None without a composite."""
    rank_low: int | None = None
    """The best rank it may have: 1 + the number of rows that are significantly better, of all pairs."""
    rank_high: int | None = None
    """The worst rank it may have; with 95 % confidence all rows' ranks lie from low to high. None before version 4."""
    group: int | None = None
    """From 1, downwards: no two rows of a group can be told apart. Rows of neighbouring groups may be alike too, which
    their ranges of ranks tell."""
    row: str
    arm: str
    baseline: str | None
    """The id of the row it is compared with."""
    match: str | None
    seeds: tuple[int, ...]
    one_model: bool = pydantic.Field(default=False, exclude_if=operator.not_)
    """The seeds are draws of one model's answers."""
    examples: float
    tokens: float
    device_hours: float | None = None
    """What all seeds' jobs took of their devices together."""
    restarted: tuple[str, ...] = ()
    """Stages that were begun anew: `specialist (seed 0)`."""
    composite: Cell
    missing: tuple[str, ...] = pydantic.Field((), exclude_if=lambda names: not names)
    """Benchmarks without a number, and so no composite."""
    groups: dict[str, Cell] = pydantic.Field(default_factory=dict, exclude_if=lambda cells: not cells)
    """The means that the composite averages, where the suite has groups."""
    cells: dict[str, Cell]


class Column(Part):
    """A benchmark of the board."""

    protocol: str
    higher_is_better: bool
    out_of: float = pydantic.Field(100, exclude_if=lambda scale: scale == 100)  # noqa: PLR2004
    """What a full score is shown as."""
    bounded: bool = pydantic.Field(default=True, exclude_if=bool)
    """No item's score has left 0 to 1."""


class Board(Part):
    """Rows that share a recipe, ranked."""

    schema_version: Literal[1, 2, 3, 4, 5, 6] = 6
    """2 knows `device_hours` and `restarted`; 3 suites with a version, groups, scales and what failed to be scored; 4
    ranges of ranks, groups, equivalence and what a comparison could have found; 5 disagreements, with other rules for
    equality, families and ranks; 6 how far one item moves a difference, with other rules for equality and weights."""
    suite: str
    suite_version: int | None = pydantic.Field(None, exclude_if=lambda version: version is None)
    suite_sha256: str
    recipe_sha256: str
    benchmarks: dict[str, Column]
    composite: str
    """The rule of the composite."""
    limit: int | None = None
    """Only so many items of each benchmark were asked; None for all."""
    level: float = LEVEL
    margin: float = MARGIN
    """Within so much of each other two scores are equal, as a share of the whole scale."""
    lines: tuple[Line, ...]

    @property
    def group(self) -> Group:
        """What its rows share."""
        return self.recipe_sha256, self.suite_sha256

    @property
    def rows(self) -> set[str]:
        """Ids of its rows."""
        return {line.row for line in self.lines}


def build_board(rows: Sequence[Row], scores_of: ScoresOf) -> Board:
    """Rank the rows and compare each with its baseline. All rows share one recipe and one suite; at least one row."""
    first = rows[0].result
    assert all(row.result.recipe_sha256 == first.recipe_sha256 for row in rows)
    assert all(row.result.suite.sha256 == first.suite.sha256 for row in rows)
    from harness.board.ranks import standings

    pairs = {row.id: base for row in rows if (base := baseline_of(row, rows)) is not None}
    by_id = {row.id: row for row in rows}
    items = items_of(rows, scores_of)
    composites = {(id_, ""): compare_composites(by_id[id_], base, items) for id_, base in pairs.items()}
    cells = {(id_, name): compare(by_id[id_], base, name, items) for id_, base in pairs.items() for name in first.tasks}
    directions = {"": True} | {name: task.higher_is_better for name, task in first.tasks.items()}
    comparisons = marked_comparisons(composites, holm, directions, MARGIN) | marked_comparisons(
        cells, benjamini_hochberg, directions, MARGIN
    )
    ordered = sorted(rows, key=lambda row: (-_rank_score(row), row.result.arm, row.id))
    standing = standings(ordered, items)
    return Board(
        suite=first.suite.name,
        suite_version=first.suite.version,
        suite_sha256=first.suite.sha256,
        recipe_sha256=first.recipe_sha256,
        benchmarks=columns_of(rows),
        composite=first.composite.rule,
        limit=first.limit,
        lines=tuple(_line(row, standing.get(row.id), pairs.get(row.id), comparisons, items) for row in ordered),
    )


def columns_of(rows: Sequence[Row]) -> dict[str, Column]:
    """The benchmarks that all the rows have."""
    return {
        name: Column(
            protocol=task.protocol,
            higher_is_better=task.higher_is_better,
            out_of=task.out_of,
            bounded=all(row.result.tasks[name].bounds for row in rows),
        )
        for name, task in rows[0].result.tasks.items()
    }


def write_board(folder: Path, board: Board, rows: Sequence[Row]) -> None:
    """`rows/<id>.json`, then `leaderboard.json`, which so never speaks of a row that is not there."""
    for row in rows:
        write_atomically(row_path(folder, row.id), model_json(row))
    write_atomically(folder / RUN_BOARD, model_json(board))


def _rank_score(row: Row) -> float:
    score = row.result.composite.score
    return float("-inf") if score is None else score


def _line(
    row: Row,
    standing: Standing | None,
    base: Row | None,
    comparisons: Mapping[tuple[str, str], Comparison],
    items: ItemsOf,
) -> Line:
    result = row.result
    return Line(
        rank=standing and standing.rank,
        rank_low=standing and standing.low,
        rank_high=standing and standing.high,
        group=standing and standing.group,
        row=row.id,
        arm=result.arm,
        baseline=base and base.id,
        match=result.match,
        seeds=tuple(result.composite.seeds),
        one_model=result.one_model and len(result.seeds) > 1,
        examples=result.examples_seen(),
        tokens=result.tokens_seen(),
        device_hours=device_hours(row.measured.jobs),
        restarted=row.measured.restarted,
        composite=Cell(
            score=result.composite.score,
            interval=composite_interval(row, items),
            comparison=comparisons.get((row.id, "")),
            **_counts(list(result.tasks.values())),
        ),
        missing=result.composite.missing,
        groups={
            group: Cell(
                score=score,
                interval=None,
                comparison=None,
                **_counts([result.tasks[name] for name in result.suite.groups[group] if name in result.tasks]),
            )
            for group, score in result.composite.groups.items()
        },
        cells={
            name: Cell(
                score=task.score,
                interval=task.interval,
                comparison=comparisons.get((row.id, name)),
                **_counts([task]),
            )
            for name, task in result.tasks.items()
        },
    )


def composite_interval(row: Row, items: ItemsOf) -> Interval | None:
    """Over the row's seeds where they differ, else over the items; None without a composite, and for totals."""
    tasks, composite = row.result.tasks, row.result.composite
    if composite.interval or composite.score is None or any(task.total for task in tasks.values()):
        return composite.interval
    from harness.board.items import averaged

    seeds, shares = sorted(composite.seeds), row.result.suite.shares()
    drawn = seeds if row.result.one_model else seeds[:1]
    asked = [
        oriented(averaged([items(row, name, seed) for seed in drawn]), task).scored() for name, task in tasks.items()
    ]
    return macro_interval(asked, [shares[name] for name in tasks])


def _counts(tasks: Sequence[TaskResult]) -> dict[str, Any]:
    parts = [part for task in tasks for part in task.seeds]
    return {
        "items": sum(task.items for task in tasks),
        "n_missing": sum(part.n_missing for part in parts),
        "prompts_cut": sum(part.prompts_cut for part in parts),
        "stopped_by_length": sum(part.stopped_by_length for part in parts),
        "unparsed": sum(part.outcomes.get("unparsed", 0) for part in parts),
        "alike": sum(part.alike for part in parts),
        "unscored": {kind: n for kind in MISSING if (n := sum(part.outcomes.get(kind, 0) for part in parts))},
    }
