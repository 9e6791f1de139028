"""Two people's decisions on the same candidates: how far they agree, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.review.decisions import Decision


@dataclass(frozen=True)
class Merged:
    """Decisions of two people together."""

    together: tuple[Decision, ...]
    """Those that both took alike, or that one of them took alone."""
    open: tuple[str, ...]
    """Rows on which they decided differently: one kept and the other dropped, or they kept different texts."""
    both: int
    """Rows that both decided on."""
    alone: tuple[int, int]
    """Rows that the first, and the second, decided on alone."""
    agreed: int
    """Rows that both kept, edited or not, or that both dropped."""
    kappa: float | None
    """Cohen's kappa of keeping and dropping; None where it is not defined."""


def merge(a: Mapping[str, Decision], b: Mapping[str, Decision]) -> Merged:
    """Put two people's standing decisions together."""
    both = [row for row in a if row in b]
    pairs = [(a[row].kept, b[row].kept) for row in both]
    differ = [row for row in both if a[row] != b[row]]
    together = {row: decision for row, decision in {**b, **a}.items() if row not in set(differ)}
    alone = (len(a) - len(both), len(b) - len(both))
    agreed = sum(one == other for one, other in pairs)
    return Merged(tuple(together.values()), tuple(differ), len(both), alone, agreed, cohens_kappa(pairs))


def cohens_kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Agreement beyond chance, `(p_o - p_e) / (1 - p_e)` (Cohen, 1960); None where chance alone explains all of it.

    Chance is that of two people who keep as often as these do, whatever they see.
    """
    n = len(pairs)
    if not n:
        return None
    first, second = (sum(pair[who] for pair in pairs) for who in (0, 1))
    by_chance = first * second + (n - first) * (n - second)  # times n squared, as are those below
    observed = n * sum(one == other for one, other in pairs)
    return None if by_chance == n * n else (observed - by_chance) / (n * n - by_chance)
