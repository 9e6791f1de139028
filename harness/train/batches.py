"""Which examples make up each optimiser step, and how a step's examples are laid out in micro-batches.

What a step consists of is the method's business; the layout is the machine's, and changes rounding alone.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.train.corpus import Corpus
from harness.train.packed import PackedBatch

Order = npt.NDArray[np.int64]


def shuffled(n: int, seed: int) -> Iterator[Order]:
    """Endless epochs of the indices 0 to n - 1, each in an order of its own."""
    epoch = 0
    while True:
        yield np.random.Generator(np.random.PCG64([seed, epoch])).permutation(n)
        epoch += 1


def by_examples(n: int, total: int, seed: int) -> Order:
    """The first `total` indices of consecutive shuffled epochs."""
    epochs = shuffled(n, seed)
    return np.concatenate([next(epochs) for _ in range(math.ceil(total / n))])[:total]


def by_tokens(lengths: npt.NDArray[np.int64], total: int, seed: int) -> Order:
    """As many indices of consecutive shuffled epochs as it takes to reach `total` tokens."""
    order = by_examples(len(lengths), len(lengths) * math.ceil(total / int(lengths.sum())), seed)
    enough = int(np.searchsorted(np.cumsum(lengths[order]), total)) + 1
    return order[:enough]


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best fit decreasing: positions grouped so that each group's lengths sum to at most `capacity`.

    A length above the capacity gets a group of its own. Longest first within a group, which the attention likes.
    """
    groups: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (what is left, group), sorted
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        found = bisect.bisect_left(room, (lengths[item], -1))
        if found < len(room):
            left, group = room.pop(found)
            groups[group].append(item)
        else:
            left, group = capacity, len(groups)
            groups.append([item])
        bisect.insort(room, (left - lengths[item], group))
    return groups


@dataclass(frozen=True)
class Steps:
    """A stage's optimiser steps, each divided into the same number of micro-batches."""

    micro_batches: tuple[tuple[tuple[int, ...], ...], ...]
    """Step by step, example indices of each micro-batch; empty ones fill a step up."""
    accumulation: int

    @classmethod
    def of(cls, order: Order, lengths: npt.NDArray[np.int64], batch_size: int, micro_tokens: int) -> Steps:
        """Cut an order into steps of `batch_size` examples and pack each into rows of at most `micro_tokens`."""
        steps = []
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            groups = pack([int(lengths[i]) for i in chosen], micro_tokens)
            steps.append(tuple(tuple(int(chosen[i]) for i in group) for group in groups))
        accumulation = max(len(step) for step in steps)
        return cls(tuple(step + ((),) * (accumulation - len(step)) for step in steps), accumulation)

    def __len__(self) -> int:
        return len(self.micro_batches)


class MicroBatches(torch.utils.data.Dataset[PackedBatch]):
    """Every micro-batch of a stage, in the order in which training takes them."""

    def __init__(self, corpus: Corpus, steps: Steps, reduction: str) -> None:
        self._corpus, self._steps, self._reduction = corpus, steps, reduction

    def __len__(self) -> int:
        return len(self._steps) * self._steps.accumulation

    def __getitem__(self, index: int) -> PackedBatch:
        step, part = divmod(index, self._steps.accumulation)
        chosen = self._steps.micro_batches[step][part]
        corpus = self._corpus
        spans = [slice(corpus.offsets[i], corpus.offsets[i + 1]) for i in chosen]
        weights = [corpus.weights[span] for span in spans]
        mass = math.fsum(float(row.sum(dtype=np.float64)) for row in weights)
        return PackedBatch.of(
            [corpus.ids[span] for span in spans],
            [corpus.parts[span] for span in spans],
            weights,
            denominator=float(len(chosen)) if self._reduction == "example" else mass,
            first=part == 0,
        )
