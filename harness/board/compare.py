"""How an arm's scores compare with its baseline's, on the same items or the same seeds.

A difference is marked `+` or `-` only when it stays significant after adjusting for the number of comparisons: Holm
over the composites, Benjamini and Hochberg over the single benchmarks. Everything else is `?`, with the reason where
there is one beside "too small to tell".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import pydantic

from harness.board.differences import (
    FIRM_SEEDS,
    MARK_SEEDS,
    Difference,
    method_difference,
    paired_composite,
    paired_difference,
)
from harness.board.intervals import Bounds, Scored, Scores, pooled
from harness.board.numbers import TaskResult
from harness.board.rows import Row

LEVEL = 0.05
"""Family-wise error of the composites' marks, and false discovery rate of the benchmarks'."""

ScoresOf = Callable[[Row, str, int], Scores]
"""Row, benchmark and seed to the score of each item; items are (id, content hash)."""


class Comparison(pydantic.BaseModel):
    """How a score compares with the baseline's."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    difference: Difference | None
    """The arm's score minus the baseline's, in the benchmark's own direction; None where they cannot be paired."""
    provisional: bool = False
    """Several seeds, and fewer than five. One seed makes no claim about a method that could be provisional."""
    adjusted_p: float | None = None
    mark: Literal["+", "-", "?"] = "?"
    """Better, worse, or not known to differ."""
    blocked: str = ""
    """Why no mark is given whatever the numbers say."""


def baseline_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row of the arm it was compared with; of several, the one that shares most seeds."""
    named = [other for other in rows if other.result.arm == row.measured.baseline and other.id != row.id]
    return max(named, key=lambda other: (len(_common_seeds(row, other)), other.id), default=None)


def _common_seeds(a: Row, b: Row) -> list[int]:
    return sorted(a.result.composite.seeds.keys() & b.result.composite.seeds.keys())


def compare(row: Row, base: Row, benchmark: str, scores_of: ScoresOf) -> Comparison:
    """Two rows on one benchmark, not yet marked."""
    task, other = row.result.tasks[benchmark], base.result.tasks[benchmark]
    seeds = _common_seeds(row, base)
    if why := _not_comparable(row, base, [benchmark], seeds, scores_of):
        return Comparison(difference=None, blocked=why)
    checkpoints = row.result.one_model and base.result.one_model
    found: Difference | None = None
    if not checkpoints:
        found = _over_seeds(
            {part.seed: part.score for part in task.seeds},
            {part.seed: part.score for part in other.seeds},
            _bounds([task, other]),
        )
    if found is None and task.total is not None:
        return _of_totals(task.score, other.score, task.items)
    pairs = _paired_items(row, base, benchmark, seeds, scores_of)
    found = found or paired_difference(*_of_items(pairs, checkpoints=checkpoints))
    return _comparison(found, _missing(task, other), 1 if checkpoints else len(seeds))


def compare_composites(row: Row, base: Row, scores_of: ScoresOf) -> Comparison:
    """Two rows on the macro-average, not yet marked."""
    mine, theirs, seeds = row.result, base.result, _common_seeds(row, base)
    if why := _not_comparable(row, base, list(mine.tasks), seeds, scores_of):
        return Comparison(difference=None, blocked=why)
    if mine.composite.score is None or theirs.composite.score is None:
        return Comparison(difference=None, blocked="there is no composite")
    bounds = _bounds([*mine.tasks.values(), *theirs.tasks.values()])
    checkpoints = mine.one_model and theirs.one_model
    found = None if checkpoints else _over_seeds(mine.composite.seeds, theirs.composite.seeds, bounds)
    if found is None and any(task.total for task in mine.tasks.values()):
        return _of_totals(mine.composite.score, theirs.composite.score, sum(task.items for task in mine.tasks.values()))
    if found is None:
        pairs = {
            name: _of_items(_paired_items(row, base, name, seeds, scores_of), checkpoints=checkpoints)
            for name in mine.tasks
        }
        shares = mine.suite.shares()
        found = paired_composite(
            [(oriented(a, mine.tasks[name]), oriented(b, mine.tasks[name])) for name, (a, b) in pairs.items()],
            [shares[name] for name in pairs],
        )
    blocked = next((why for name, task in mine.tasks.items() if (why := _missing(task, theirs.tasks[name]))), "")
    return _comparison(found, blocked, 1 if checkpoints else len(seeds))


def oriented(scores: Scores, task: TaskResult) -> dict[tuple[str, str], Scored]:
    """The items' scores as they enter the composite."""
    return {item: Scored(task.oriented(one.value), one.weight) for item, one in scores.items()}


def _bounds(tasks: Sequence[TaskResult]) -> Bounds:
    """What a difference of shares cannot leave."""
    return (-1.0, 1.0) if all(task.bounds for task in tasks) else None


def _over_seeds(a: Mapping[int, float | None], b: Mapping[int, float | None], bounds: Bounds) -> Difference | None:
    return method_difference(
        {seed: score for seed, score in a.items() if score is not None},
        {seed: score for seed, score in b.items() if score is not None},
        bounds=bounds,
    )


def _of_totals(a: float | None, b: float | None, items: int) -> Comparison:
    """A difference that the items of one seed give no interval for."""
    assert a is not None
    assert b is not None
    difference = Difference(value=a - b, interval=None, p=None, n=items, claim="checkpoint")
    return Comparison(difference=difference, blocked="a total has no interval over its items, only over seeds")


def _not_comparable(row: Row, base: Row, benchmarks: Sequence[str], seeds: Sequence[int], scores_of: ScoresOf) -> str:
    """Why two rows cannot be compared on these benchmarks; empty where they can."""
    if not seeds:
        return "no seed in common"
    for name in benchmarks:
        of = "" if len(benchmarks) == 1 else f" of {name}"
        if None in (row.result.tasks[name].score, base.result.tasks[name].score):
            return f"there is no score{of}"
        if not _paired_items(row, base, name, seeds, scores_of):
            return f"the items{of} differ"
    return ""


def _paired_items(
    row: Row, base: Row, benchmark: str, seeds: Sequence[int], scores_of: ScoresOf
) -> list[tuple[Scores, Scores]]:
    """The scores of the items that both have, seed by seed; empty where the items of any seed differ.

    Items that went missing on one side are no difference.
    """
    tasks = [one.result.tasks[benchmark] for one in (row, base)]
    pairs: list[tuple[Scores, Scores]] = []
    for seed in seeds:
        a, b = (scores_of(one, benchmark, seed) for one in (row, base))
        missing = [next(part.n_missing for part in task.seeds if part.seed == seed) for task in tasks]
        both = a.keys() & b.keys()
        if not both or len(a.keys() - both) > missing[1] or len(b.keys() - both) > missing[0]:
            return []
        pairs.append(({item: a[item] for item in both}, {item: b[item] for item in both}))
    return pairs


def _of_items(pairs: Sequence[tuple[Scores, Scores]], *, checkpoints: bool) -> tuple[Scores, Scores]:
    """The first seed's items; or of two checkpoints, each asked several times, what every item scores on average."""
    if checkpoints:
        return pooled([a for a, _ in pairs]), pooled([b for _, b in pairs])
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


def marked_comparisons(
    comparisons: Mapping[tuple[str, str], Comparison],
    adjust: Callable[[Sequence[float]], list[float]],
    higher_is_better: Mapping[str, bool],
) -> dict[tuple[str, str], Comparison]:
    """The comparisons with p-values adjusted for their number, and with their marks."""
    tested = {
        key: (one.difference.value, one.difference.p)
        for key, one in comparisons.items()
        if one.difference is not None and one.difference.p is not None
    }
    adjusted = dict(zip(tested, adjust([p for _, p in tested.values()]), strict=True))
    marked = dict(comparisons)
    for key, (value, _) in tested.items():
        update: dict[str, object] = {"adjusted_p": adjusted[key]}
        if adjusted[key] < LEVEL and not comparisons[key].blocked:
            update["mark"] = "+" if (value > 0) == higher_is_better[key[1]] else "-"
        marked[key] = comparisons[key].model_copy(update=update)
    return marked
