"""Which row of a column is better than every other, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board import text
from harness.board.compare import ItemsOf, ScoresOf, compare, compare_composites, items_of
from harness.board.marks import LEVEL
from harness.board.rows import Row


def best_rows(rows: Sequence[Row], scores_of: ScoresOf) -> dict[str, str]:
    """Benchmark, or the composite, to the id of its best row, where that can be told apart from each of the others.

    The best is found by looking at all, so each of its p-values is adjusted for all pairs there are (Bonferroni).
    Provisional and blocked comparisons tell nothing apart. A single row is the best of nothing.
    """
    items, found = items_of(rows, scores_of), {}
    for name in (text.COMPOSITE, *rows[0].result.tasks):
        scored = [(score, row) for row in rows if (score := _oriented(row, name)) is not None]
        if len(scored) < 2:  # noqa: PLR2004 -- two to compare
            continue
        _, best = max(scored, key=lambda one: one[0])
        pairs = len(scored) * (len(scored) - 1) // 2
        others = [row for _, row in scored if row.id != best.id]
        if all(_behind(other, best, name, items) * pairs < LEVEL for other in others):
            found[name] = best.id
    return found


def _oriented(row: Row, name: str) -> float | None:
    """The score where more is better."""
    if name == text.COMPOSITE:
        return row.result.composite.score
    task = row.result.tasks[name]
    return None if task.score is None else task.oriented(task.score)


def _behind(other: Row, best: Row, name: str, items: ItemsOf) -> float:
    """The p-value by which the other is worse; 1 where it is not known to be, or is better on the seeds of both."""
    if name == text.COMPOSITE:
        found, upwards = compare_composites(best, other, items, interval=False), True
    else:
        found, upwards = compare(best, other, name, items), best.result.tasks[name].higher_is_better
    if found.difference is None or found.difference.p is None or found.blocked or found.provisional:
        return 1.0
    return found.difference.p if (found.difference.value > 0) == upwards else 1.0
