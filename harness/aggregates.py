"""How the scores of items become one number: the arithmetic of `Mean` and `Total`, for jobs and for the board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def weighted_mean(numbers: Iterable[tuple[float, float]]) -> float | None:
    """The mean of (value, weight) pairs; None where nothing has any weight."""
    found = list(numbers)
    weight = sum(weight for _, weight in found)
    return sum(value * weight for value, weight in found) / weight if weight else None


def means(scored: Iterable[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Of items' values and weights (1 where none is said) by name: each name's `value`, over the `n` items with it."""
    found: dict[str, list[tuple[float, float]]] = {}
    for values, weights in scored:
        for name, value in values.items():
            found.setdefault(name, []).append((value, weights.get(name, 1.0)))
    return {name: {"value": weighted_mean(of), "n": len(of)} for name, of in sorted(found.items())}


def total(
    scores: Mapping[str, float], expected: int, out_of: float, drop_lowest_of: Sequence[Sequence[str]]
) -> float | None:
    """The sum of item scores over `out_of`, without the group of items that adds least.

    None where fewer items have a score than were `expected`: what is missing is not worth nothing.
    """
    if not scores or len(scores) < expected:
        return None
    lowest = min((sum(scores.get(item, 0.0) for item in group) for group in drop_lowest_of), default=0.0)
    return (sum(scores.values()) - lowest) / out_of
