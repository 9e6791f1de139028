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
    kept = {name(item) for item in shuffled(items, seed, name)[:most]}
    return [item for item in items if name(item) in kept]


def shuffled(items: Sequence[Item], seed: int, name: Callable[[Item], str]) -> list[Item]:
    """The items in an order that the seed and their names alone fix: by `lot`."""
    return sorted(items, key=lambda item: lot(seed, name(item)))


def lot(seed: int | None, name: str) -> bytes:
    """What a name draws under a seed, 32 bytes. JSON can spell half a character, and a name may hold one."""
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogatepass")).digest()
