"""How an arm's scores compare with another's, on the same items or the same seeds; not yet marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from harness.board.differences import (
    FIRM_SEEDS,
    MARK_SEEDS,
    Difference,
    method_difference,
    paired_composite,
)
from harness.board.intervals import Bounds, Scores
from harness.board.marks import Comparison
from harness.board.numbers import TaskResult, mean_or_none
from harness.board.rows import Row

if TYPE_CHECKING:
    from harness.board.items import ItemScores

ScoresOf = Callable[[Row, str, int], Scores]
"""Row, benchmark and seed to the score of each item; items are (id, content hash)."""

ItemsOf = Callable[[Row, str, int], "ItemScores"]
"""The same as arrays."""


def items_of(rows: Sequence[Row], scores_of: ScoresOf) -> ItemsOf:
    """Each evaluation of the rows, read once; those of equal items share one tuple of them."""
    from harness.board.items import Item, ItemScores

    by_id = {row.id: row for row in rows}
    known: dict[tuple[Item, ...], tuple[Item, ...]] = {}

    @cache
    def read(row: str, benchmark: str, seed: int) -> ItemScores:
        found = ItemScores.of(scores_of(by_id[row], benchmark, seed))
        return replace(found, items=known.setdefault(found.items, found.items))

    return lambda row, benchmark, seed: read(row.id, benchmark, seed)


def baseline_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row of the arm it was compared with; of several, the one that shares most seeds."""
    named = [other for other in rows if other.result.arm == row.measured.baseline and other.id != row.id]
    return max(named, key=lambda other: (len(common_seeds(row, other)), other.id), default=None)


def common_seeds(a: Row, b: Row) -> list[int]:
    """The seeds that both rows have."""
    return sorted(a.result.composite.seeds.keys() & b.result.composite.seeds.keys())


def compare(row: Row, base: Row, benchmark: str, items: ItemsOf) -> Comparison:
    """Two rows on one benchmark, not yet marked."""
    task, other = row.result.tasks[benchmark], base.result.tasks[benchmark]
    seeds = common_seeds(row, base)
    if why := why_not(row, base, [benchmark], seeds, items):
        return Comparison(difference=None, blocked=why)
    checkpoints = row.result.one_model and base.result.one_model
    found: Difference | None = None
    if not checkpoints:
        found = _over_seeds(_by_seed(task), _by_seed(other), _bounds([task, other]))
    if found is None and task.total is not None:
        return _of_totals([_by_seed(one) for one in (task, other)], seeds, task.items)
    if found is None:
        found = paired_composite([_checkpoints(row, base, benchmark, seeds if checkpoints else seeds[:1], items)])
    return _comparison(found, _missing(task, other) or _lone_seed(row, base, seeds), 1 if checkpoints else len(seeds))


def compare_composites(row: Row, base: Row, items: ItemsOf, *, interval: bool = True) -> Comparison:
    """Two rows on the macro-average, not yet marked. Without `interval`, a difference over items has none."""
    mine, theirs, seeds = row.result, base.result, common_seeds(row, base)
    if why := why_not(row, base, list(mine.tasks), seeds, items):
        return Comparison(difference=None, blocked=why)
    if mine.composite.score is None or theirs.composite.score is None:
        return Comparison(difference=None, blocked="there is no composite")
    bounds = _bounds([*mine.tasks.values(), *theirs.tasks.values()])
    checkpoints = mine.one_model and theirs.one_model
    found = None if checkpoints else _over_seeds(mine.composite.seeds, theirs.composite.seeds, bounds)
    found = found or item_difference(row, base, seeds if checkpoints else seeds[:1], items, interval=interval)
    if found is None:
        asked = sum(task.items for task in mine.tasks.values())
        return _of_totals([mine.composite.seeds, theirs.composite.seeds], seeds, asked)
    blocked = next((why for name, task in mine.tasks.items() if (why := _missing(task, theirs.tasks[name]))), "")
    blocked = blocked or _lone_seed(row, base, seeds)
    return _comparison(found, blocked, 1 if checkpoints else len(seeds))


def item_difference(
    row: Row, base: Row, seeds: Sequence[int], items: ItemsOf, *, interval: bool = False
) -> Difference | None:
    """Two rows' composites as those of two checkpoints, over the items of these seeds, averaged; None for totals."""
    tasks, shares = row.result.tasks, row.result.suite.shares()
    if any(task.total for task in tasks.values()):
        return None
    pairs = []
    for name, task in tasks.items():
        a, b = _checkpoints(row, base, name, seeds, items)
        pairs.append((oriented(a, task), oriented(b, task)))
    return paired_composite(pairs, [shares[name] for name in tasks], interval=interval)


def oriented(scores: ItemScores, task: TaskResult) -> ItemScores:
    """The items' scores as they enter the composite."""
    return scores if task.higher_is_better else scores.map(lambda values: 1 - values)


def _by_seed(task: TaskResult) -> dict[int, float | None]:
    return {part.seed: part.score for part in task.seeds}


def _bounds(tasks: Sequence[TaskResult]) -> Bounds:
    """What a difference of shares cannot leave."""
    return (-1.0, 1.0) if all(task.bounds for task in tasks) else None


def _over_seeds(a: Mapping[int, float | None], b: Mapping[int, float | None], bounds: Bounds) -> Difference | None:
    return method_difference(
        {seed: score for seed, score in a.items() if score is not None},
        {seed: score for seed, score in b.items() if score is not None},
        bounds=bounds,
    )


def _of_totals(sides: Sequence[Mapping[int, float | None]], seeds: Sequence[int], items: int) -> Comparison:
    """A difference, over the seeds of both sides, that the items of one seed give no interval for."""
    a, b = (mean_or_none(side[seed] for seed in seeds) for side in sides)
    assert a is not None
    assert b is not None
    difference = Difference(value=a - b, interval=None, p=None, n=items, claim="checkpoint")
    return Comparison(difference=difference, blocked="a total has no interval over its items, only over seeds")


def why_not(row: Row, base: Row, benchmarks: Sequence[str], seeds: Sequence[int], items: ItemsOf) -> str:
    """Why two rows cannot be compared on these benchmarks; empty where they can."""
    if not seeds:
        return "no seed in common"
    for name in benchmarks:
        of = "" if len(benchmarks) == 1 else f" of {name}"
        if None in (row.result.tasks[name].score, base.result.tasks[name].score):
            return f"there is no score{of}"
        if not _paired_items(row, base, name, seeds, items):
            return f"the items{of} differ"
    return ""


def _paired_items(
    row: Row, base: Row, benchmark: str, seeds: Sequence[int], items: ItemsOf
) -> list[tuple[ItemScores, ItemScores]]:
    """The scores of the items that both have, seed by seed; empty where the items of any seed differ.

    Items that went missing on one side are no difference.
    """
    from harness.board.items import shared

    tasks = [one.result.tasks[benchmark] for one in (row, base)]
    pairs = []
    for seed in seeds:
        a, b = (items(one, benchmark, seed) for one in (row, base))
        mine, theirs = shared(a, b)
        missing = [next(part.n_missing for part in task.seeds if part.seed == seed) for task in tasks]
        both = len(mine.items)
        if not both or len(a.items) - both > missing[1] or len(b.items) - both > missing[0]:
            return []
        pairs.append((mine, theirs))
    return pairs


def _checkpoints(
    row: Row, base: Row, benchmark: str, seeds: Sequence[int], items: ItemsOf
) -> tuple[ItemScores, ItemScores]:
    """What every item scores, on average where a model was asked several times."""
    from harness.board.items import averaged

    mine, theirs = zip(*_paired_items(row, base, benchmark, seeds, items), strict=True)
    return averaged(mine), averaged(theirs)


def _missing(task: TaskResult, other: TaskResult) -> str:
    if task.missing_too_many or other.missing_too_many:
        return "more than 1 % of the items are missing"
    counts = [{part.seed: part.n_missing for part in one.seeds} for one in (task, other)]
    if any(counts[0][seed] != counts[1][seed] for seed in counts[0].keys() & counts[1].keys()):
        return "not equally many items are missing"
    return ""


def _lone_seed(row: Row, base: Row, seeds: Sequence[int]) -> str:
    """Why one seed in common says nothing of rows whose numbers are means over more; empty where it does."""
    several = any(len(one.result.seeds) > 1 and not one.result.one_model for one in (row, base))
    return "only one seed in common" if several and len(seeds) == 1 else ""


def _comparison(difference: Difference, blocked: str, seeds: int) -> Comparison:
    if difference.claim == "method" and difference.n < MARK_SEEDS:
        blocked = blocked or f"{difference.n} seeds are too few"
    return Comparison(difference=difference, provisional=1 < seeds < FIRM_SEEDS, blocked=blocked)
