"""How an arm's scores compare with its baseline's, on the same items or the same seeds.

A difference is marked `+` or `-` only when it stays significant after adjusting for the number of comparisons: Holm
over the composites, Benjamini and Hochberg over the single benchmarks. Everything else is `?`, with the reason where
there is one beside "too small to tell".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import pydantic

from harness.board.rows import Row, TaskResult
from harness.board.statistics import (
    FIRM_SEEDS,
    MARK_SEEDS,
    Difference,
    Scores,
    method_difference,
    paired_composite,
    paired_difference,
)

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
    if not seeds:
        return Comparison(difference=None, blocked="no seed in common")
    pair = _paired_items(row, base, benchmark, seeds, scores_of)
    if pair is None:
        return Comparison(difference=None, blocked="the items differ")
    difference = _over_seeds({s.seed: s.score for s in task.seeds}, {s.seed: s.score for s in other.seeds})
    return _comparison(difference or paired_difference(*pair), _missing(task, other), len(seeds))


def compare_composites(row: Row, base: Row, scores_of: ScoresOf) -> Comparison:
    """Two rows on the macro-average, not yet marked."""
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


def marked_comparisons(
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
