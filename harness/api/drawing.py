"""Seeded draws that no library's random numbers decide."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def drawn(items: Sequence[Item], most: int | None, seed: int, name: Callable[[Item], str]) -> list[Item]:
    """At most so many items, in the order they have: those whose digest of seed and name is smallest; None: all.

    Names are unique. The same for equal seeds on every machine, and a smaller draw lies within a larger one.
    """
    ranked = sorted(items, key=lambda item: hashlib.sha256(f"{seed}/{name(item)}".encode()).digest())
    kept = {name(item) for item in ranked[:most]}
    return [item for item in items if name(item) in kept]
