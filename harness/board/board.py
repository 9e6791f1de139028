"""The leaderboard: rows in order of their composite, each compared with its baseline.

A difference is marked `+` or `-` only when it stays significant after adjusting for the number of comparisons: Holm
over the composites, Benjamini and Hochberg over the single benchmarks. Everything else is `?`, with the reason where
there is one beside "too small to tell".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import pydantic

from harness.board.files import model_json, write_atomically
from harness.board.rows import Row, TaskResult, row_path
from harness.board.statistics import (
    FIRM_SEEDS,
    MARK_SEEDS,
    Difference,
    Interval,
    Scores,
    benjamini_hochberg,
    holm,
    macro_interval,
    method_difference,
    paired_composite,
    paired_difference,
)

LEVEL = 0.05
"""Family-wise error of the composites' marks, and false discovery rate of the benchmarks'."""

ScoresOf = Callable[[Row, str, int], Scores]
"""Row, benchmark and seed to the score of each item; items are (id, content hash)."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Comparison(_Part):
    """How a score compares with the baseline's."""

    difference: Difference | None
    """The arm's score minus the baseline's, in the benchmark's own direction; None where they cannot be paired."""
    provisional: bool = False
    """Several seeds, and fewer than five. One seed makes no claim about a method that could be provisional."""
    adjusted_p: float | None = None
    mark: Literal["+", "-", "?"] = "?"
    """Better, worse, or not known to differ."""
    blocked: str = ""
    """Why no mark is given whatever the numbers say."""


class Cell(_Part):
    """An arm's score on one benchmark."""

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
    comparison: Comparison | None


class Line(_Part):
    """A row in its place on the board."""

    rank: int | None
    """From 1; equal composites share a rank; None without a composite."""
    row: str
    arm: str
    baseline: str | None
    """The id of the row it is compared with."""
    match: str | None
    seeds: tuple[int, ...]
    examples: float
    tokens: float
    composite: Cell
    cells: dict[str, Cell]


class Column(_Part):
    """A benchmark of the board."""

    protocol: str
    higher_is_better: bool


class Board(_Part):
    """Rows that share a recipe, ranked."""

    schema_version: Literal[1] = 1
    suite: str
    suite_sha256: str
    recipe_sha256: str
    benchmarks: dict[str, Column]
    composite: str
    """The rule of the composite."""
    limit: int | None = None
    """Only so many items of each benchmark were asked; None for all."""
    level: float = LEVEL
    lines: tuple[Line, ...]


def build_board(rows: Sequence[Row], scores_of: ScoresOf) -> Board:
    """Rank the rows and compare each with its baseline. All rows share one recipe and one suite; at least one row."""
    first = rows[0].result
    assert all(row.result.recipe_sha256 == first.recipe_sha256 for row in rows)
    assert all(row.result.suite.sha256 == first.suite.sha256 for row in rows)
    pairs = {row.id: base for row in rows if (base := _baseline(row, rows)) is not None}
    by_id = {row.id: row for row in rows}

    @cache  # cells and composites pair the same items
    def read(row: str, benchmark: str, seed: int) -> Scores:
        return scores_of(by_id[row], benchmark, seed)

    def scores(row: Row, benchmark: str, seed: int) -> Scores:
        return read(row.id, benchmark, seed)

    composites = {(id_, ""): _compare_composites(by_id[id_], base, scores) for id_, base in pairs.items()}
    cells = {
        (id_, name): _compare(by_id[id_], base, name, scores) for id_, base in pairs.items() for name in first.tasks
    }
    directions = {"": True} | {name: task.higher_is_better for name, task in first.tasks.items()}
    comparisons = _marked(composites, holm, directions) | _marked(cells, benjamini_hochberg, directions)
    ordered = sorted(rows, key=lambda row: (-_rank_score(row), row.result.arm, row.id))
    return Board(
        suite=first.suite.name,
        suite_sha256=first.suite.sha256,
        recipe_sha256=first.recipe_sha256,
        benchmarks={
            name: Column(protocol=task.protocol, higher_is_better=task.higher_is_better)
            for name, task in first.tasks.items()
        },
        composite=first.composite.rule,
        limit=first.limit,
        lines=tuple(_line(row, ordered, pairs.get(row.id), comparisons, scores) for row in ordered),
    )


def write_board(folder: Path, board: Board, rows: Sequence[Row]) -> None:
    """`rows/<id>.json`, then `leaderboard.json`, which so never speaks of a row that is not there."""
    for row in rows:
        write_atomically(row_path(folder, row.id), model_json(row))
    write_atomically(folder / "leaderboard.json", model_json(board))


def _rank_score(row: Row) -> float:
    score = row.result.composite.score
    return float("-inf") if score is None else score


def _baseline(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row of the arm it was compared with; of several, the one that shares most seeds."""
    named = [other for other in rows if other.result.arm == row.measured.baseline and other.id != row.id]
    return max(named, key=lambda other: (len(_common_seeds(row, other)), other.id), default=None)


def _common_seeds(a: Row, b: Row) -> list[int]:
    return sorted(a.result.composite.seeds.keys() & b.result.composite.seeds.keys())


def _compare(row: Row, base: Row, benchmark: str, scores_of: ScoresOf) -> Comparison:
    task, other = row.result.tasks[benchmark], base.result.tasks[benchmark]
    seeds = _common_seeds(row, base)
    if not seeds:
        return Comparison(difference=None, blocked="no seed in common")
    pair = _paired_items(row, base, benchmark, seeds, scores_of)
    if pair is None:
        return Comparison(difference=None, blocked="the items differ")
    difference = _over_seeds({s.seed: s.score for s in task.seeds}, {s.seed: s.score for s in other.seeds})
    return _comparison(difference or paired_difference(*pair), _missing(task, other), len(seeds))


def _compare_composites(row: Row, base: Row, scores_of: ScoresOf) -> Comparison:
    seeds = _common_seeds(row, base)
    if not seeds:
        return Comparison(difference=None, blocked="no seed in common")
    tasks, pairs = row.result.tasks, []
    for name, task in tasks.items():
        pair = _paired_items(row, base, name, seeds, scores_of)
        if pair is None:
            return Comparison(difference=None, blocked=f"the items of {name} differ")
        pairs.append(tuple({item: task.oriented(score) for item, score in part.items()} for part in pair))
    difference = _over_seeds(row.result.composite.seeds, base.result.composite.seeds)
    difference = difference or paired_composite([(a, b) for a, b in pairs])
    blocked = next((why for name, task in tasks.items() if (why := _missing(task, base.result.tasks[name]))), "")
    return _comparison(difference, blocked, len(seeds))


def _over_seeds(a: Mapping[int, float | None], b: Mapping[int, float | None]) -> Difference | None:
    return method_difference(
        {seed: score for seed, score in a.items() if score is not None},
        {seed: score for seed, score in b.items() if score is not None},
        bounds=(-1.0, 1.0),
    )


def _paired_items(
    row: Row, base: Row, benchmark: str, seeds: Sequence[int], scores_of: ScoresOf
) -> tuple[Scores, Scores] | None:
    """The first seed's scores of the items that both have; None where the items of any seed differ.

    Items that went missing on one side are no difference.
    """
    tasks = [one.result.tasks[benchmark] for one in (row, base)]
    pairs: list[tuple[Scores, Scores]] = []
    for seed in seeds:
        a, b = (scores_of(one, benchmark, seed) for one in (row, base))
        missing = [next(part.n_missing for part in task.seeds if part.seed == seed) for task in tasks]
        both = a.keys() & b.keys()
        if not both or len(a.keys() - both) > missing[1] or len(b.keys() - both) > missing[0]:
            return None
        pairs.append(({item: a[item] for item in both}, {item: b[item] for item in both}))
    return pairs[0]


def _missing(task: TaskResult, other: TaskResult) -> str:
    if task.missing_too_many or other.missing_too_many:
        return "more than 1 % of the items are missing"
    counts = [{part.seed: part.n_missing for part in one.seeds} for one in (task, other)]
    if any(counts[0][seed] != counts[1][seed] for seed in counts[0].keys() & counts[1].keys()):
        return "not equally many items are missing"
    return ""


def _comparison(difference: Difference, blocked: str, seeds: int) -> Comparison:
    if difference.claim == "method" and difference.n < MARK_SEEDS:
        blocked = blocked or f"{difference.n} seeds are too few"
    return Comparison(difference=difference, provisional=1 < seeds < FIRM_SEEDS, blocked=blocked)


def _marked(
    comparisons: Mapping[tuple[str, str], Comparison],
    adjust: Callable[[Sequence[float]], list[float]],
    higher_is_better: Mapping[str, bool],
) -> dict[tuple[str, str], Comparison]:
    """The comparisons with p-values adjusted for their number, and with their marks."""
    made = {key: one.difference for key, one in comparisons.items() if one.difference is not None}
    adjusted = dict(zip(made, adjust([difference.p for difference in made.values()]), strict=True))
    marked = dict(comparisons)
    for key, difference in made.items():
        update: dict[str, object] = {"adjusted_p": adjusted[key]}
        if adjusted[key] < LEVEL and not comparisons[key].blocked:
            update["mark"] = "+" if (difference.value > 0) == higher_is_better[key[1]] else "-"
        marked[key] = comparisons[key].model_copy(update=update)
    return marked


def _line(
    row: Row,
    ordered: Sequence[Row],
    base: Row | None,
    comparisons: Mapping[tuple[str, str], Comparison],
    scores_of: ScoresOf,
) -> Line:
    result = row.result
    better = sum(_rank_score(other) > _rank_score(row) for other in ordered)
    return Line(
        rank=None if result.composite.score is None else better + 1,
        row=row.id,
        arm=result.arm,
        baseline=base and base.id,
        match=result.match,
        seeds=tuple(result.composite.seeds),
        examples=result.examples_seen(),
        tokens=result.tokens_seen(),
        composite=_composite_cell(row, comparisons.get((row.id, "")), scores_of),
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


def _composite_cell(row: Row, comparison: Comparison | None, scores_of: ScoresOf) -> Cell:
    tasks, composite = row.result.tasks, row.result.composite
    interval = composite.interval
    if interval is None and composite.score is not None:
        seed = min(composite.seeds)
        interval = macro_interval(
            [[task.oriented(score) for score in scores_of(row, name, seed).values()] for name, task in tasks.items()]
        )
    return Cell(
        score=composite.score,
        interval=interval,
        comparison=comparison,
        **_counts(list(tasks.values())),
    )


def _counts(tasks: Sequence[TaskResult]) -> dict[str, int]:
    parts = [part for task in tasks for part in task.seeds]
    return {
        "items": sum(task.items for task in tasks),
        "n_missing": sum(part.n_missing for part in parts),
        "prompts_cut": sum(part.prompts_cut for part in parts),
        "stopped_by_length": sum(part.stopped_by_length for part in parts),
        "unparsed": sum(part.outcomes.get("unparsed", 0) for part in parts),
    }
