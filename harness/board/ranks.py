"""What the composites say of the order of rows: the ranks that each may have, and groups of rows not told apart.

Every two rows are compared, and the p-values adjusted for the number of pairs (Holm), so that the chance of any wrong
"better" among them stays below the level. Where none is wrong, every row's true rank lies from 1 + the number of rows
that are significantly better to the number of rows less those that are significantly worse: the ranges hold for all
rows at once (Mogstad, Romano, Shaikh and Wilhelm, 2024, doi:10.1093/restud/rdad006).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from harness.board.compare import ItemsOf
from harness.board.marks import LEVEL, holm
from harness.board.rows import Row


@dataclass(frozen=True)
class Standing:
    """Where a row may stand."""

    rank: int
    """From 1, by the composites alone; equal ones share a rank."""
    low: int
    """1 + the number of rows that are significantly better."""
    high: int
    """The number of rows less those that are significantly worse."""
    group: int
    """From 1, downwards. No two rows of a group can be told apart; rows of two groups may be."""


def standings(rows: Sequence[Row], items: ItemsOf) -> dict[str, Standing]:
    """The standing of each row that has a composite, by its id.

    A group goes on down the order until a row is told apart from one of its rows. Pairs of which no claim can be made
    are not told apart; those of which a provisional one can be are, as their marks are.
    """
    from harness.board.pairwise import pair_tests

    scores = {row.id: score for row in rows if (score := row.result.composite.score) is not None}
    tested = list(pair_tests([row for row in rows if row.id in scores], items))
    adjusted = holm([one.p for one in tested])
    better = {
        (one.a, one.b) if one.value > 0 else (one.b, one.a)
        for one, p in zip(tested, adjusted, strict=True)
        if p < LEVEL
    }
    return standings_of(scores, better)


def standings_of(scores: Mapping[str, float], better: AbstractSet[tuple[str, str]]) -> dict[str, Standing]:
    """The standings of names by their scores, where `better` holds (better, worse) of those told apart."""
    above = Counter(worse for _, worse in better)
    below = Counter(winner for winner, _ in better)
    found: dict[str, Standing] = {}
    group: list[str] = []
    number = 0
    for name in sorted(scores, key=lambda name: -scores[name]):
        if not group or any((name, one) in better or (one, name) in better for one in group):
            group, number = [], number + 1
        group.append(name)
        rank = 1 + sum(score > scores[name] for score in scores.values())
        found[name] = Standing(rank, 1 + above[name], len(scores) - below[name], number)
    return found
