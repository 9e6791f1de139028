"""Controls: what shows that a score was not earned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LIKENESS = 0.8
"""Texts whose words overlap by at least this share of all their words are near copies."""


def near_copies(texts: Sequence[str]) -> list[bool]:
    """Which of the texts are near copies of one and the same of them: of the one that has most.

    Judges can be won over by one text that answers nothing: a constant answer was rated 9.55 of 10 on MT-Bench, and
    preferred in 86.5 % of AlpacaEval 2 (Zheng et al., 2024, arXiv:2410.07137). Near copies share at least 0.8 of their
    distinct words, in any order and case.
    """
    words = [frozenset(text.lower().split()) for text in texts]
    counts = Counter(words)
    by_size = sorted(counts, key=len)
    groups = {one: [one] for one in counts}
    for n, one in enumerate(by_size):
        for other in by_size[n + 1 :]:
            if LIKENESS * len(other) > len(one):
                break
            shared = len(one & other)
            if shared >= LIKENESS * (len(one) + len(other) - shared):
                groups[one].append(other)
                groups[other].append(one)
    largest = frozenset(max(groups.values(), key=lambda group: sum(counts[one] for one in group), default=()))
    return [one in largest for one in words]


def share_alike(texts: Sequence[str]) -> float:
    """The share of `near_copies` among the texts: 1 where all say the same. Raises ValueError for no texts."""
    if not texts:
        raise ValueError("no texts to compare")
    return sum(near_copies(texts)) / len(texts)
