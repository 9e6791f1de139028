"""How one optimiser step's examples are divided into micro-batches: pure functions of their lengths.

Each returns groups of positions within the step. No group is larger than the capacity, except where one example is.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Sequence

from harness.execution import Layout

Groups = list[list[int]]


def divide(lengths: Sequence[int], capacity: int, ranks: int, layout: Layout) -> Groups:
    """The micro-batches of a step in the order in which they are dealt out to ranks, one each in turn."""
    if layout == "packed":
        groups = pack(lengths, capacity)
        if ranks > 1:
            groups = balance(lengths, capacity, _whole_rounds(len(groups), ranks)) or groups
    else:
        items = _longest_first(lengths) if layout == "grouped" else list(range(len(lengths)))
        ordered = [lengths[i] for i in items]
        most = _whole_rounds(len(cut(ordered, capacity)), ranks)
        groups = [[items[i] for i in group] for group in cut_evenly(ordered, capacity, most)]
    if ranks == 1:
        return groups
    return _spread(groups, _whole_rounds(len(groups), ranks), lambda group: cost(group, lengths, layout))


def cost(group: Sequence[int], lengths: Sequence[int], layout: Layout) -> int:
    """Tokens that the network computes for a micro-batch, padding included."""
    taken = [lengths[i] for i in group]
    return sum(taken) if layout == "packed" else len(taken) * max(taken)


def pack(lengths: Sequence[int], capacity: int) -> Groups:
    """Best fit decreasing: each group's lengths sum to at most `capacity`.

    A length above the capacity gets a group of its own. Longest first within a group, which the attention likes.
    """
    groups: Groups = []
    room: list[tuple[int, int]] = []  # (what is left, group), sorted
    for item in _longest_first(lengths):
        found = bisect.bisect_left(room, (lengths[item], -1))
        if found < len(room):
            left, group = room.pop(found)
            groups[group].append(item)
        else:
            left, group = capacity, len(groups)
            groups.append([item])
        bisect.insort(room, (left - lengths[item], group))
    return groups


def balance(lengths: Sequence[int], capacity: int, count: int) -> Groups | None:
    """Longest processing time first: every item joins the emptiest of `count` groups; None where one would overflow.

    Ranks wait for the slowest of them, so even groups matter more than full ones.
    """
    groups: Groups = [[] for _ in range(count)]
    loads = [(0, group) for group in range(count)]
    for item in _longest_first(lengths):
        load, group = loads[0]
        if load and load + lengths[item] > capacity:
            return None
        groups[group].append(item)
        heapq.heapreplace(loads, (load + lengths[item], group))
    return [group for group in groups if group]


def cut(lengths: Sequence[int], capacity: int) -> Groups:
    """Neighbours together, as many as padded to the longest of them take at most `capacity` tokens."""
    groups: Groups = []
    longest = 0
    for item, length in enumerate(lengths):
        longest = max(longest, length)
        if groups and (len(groups[-1]) + 1) * longest <= capacity:
            groups[-1].append(item)
        else:
            groups.append([item])
            longest = length
    return groups


def cut_evenly(lengths: Sequence[int], capacity: int, count: int) -> Groups:
    """`cut` at the smallest capacity that makes at most `count` groups, given that `capacity` does."""
    low, high = min(max(lengths), capacity), capacity
    while low < high:
        middle = (low + high) // 2
        if len(cut(lengths, middle)) <= count:
            high = middle
        else:
            low = middle + 1
    return cut(lengths, high)


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda item: -lengths[item])


def _spread(groups: Groups, count: int, size: Callable[[list[int]], int]) -> Groups:
    """The largest groups halved until there are `count`, as far as there are examples; largest first."""
    groups = list(groups)
    while len(groups) < count and (divisible := [group for group in groups if len(group) > 1]):
        largest = max(divisible, key=size)
        groups.remove(largest)
        middle = len(largest) // 2
        groups += [largest[:middle], largest[middle:]]
    return sorted(groups, key=lambda group: -size(group))


def _whole_rounds(groups: int, ranks: int) -> int:
    """At least so many groups that every rank gets equally many."""
    return math.ceil(groups / ranks) * ranks
