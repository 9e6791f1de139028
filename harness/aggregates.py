"""How the scores of items become one number: the arithmetic of `Mean` and `Total`, for jobs and for the board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def weighted_mean(numbers: Iterable[tuple[float, float]]) -> float | None:
    """The mean of (value, weight) pairs; None where nothing has any weight."""
    found = list(numbers)
    weight = sum(weight for _, weight in found)
    return sum(value * weight for value, weight in found) / weight if weight else None


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
