"""Which examples make up each optimiser step, and in which micro-batch of which rank each of them lies.

What a step consists of is the method's business; the layout is the machine's, and changes rounding alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from harness.execution import Layout
from harness.train.corpus import Corpus, Reduction
from harness.train.divide import Groups, divide
from harness.train.microbatch import Draws, MicroBatch

Order = npt.NDArray[np.int64]

_SUMMED_TOGETHER = 4096
"""Examples whose weights are summed at a time."""


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


@dataclass(frozen=True, eq=False)
class Steps:
    """A stage's optimiser steps, each divided into `accumulation * ranks` micro-batches; empty ones fill a step up."""

    order: Order
    """Examples in the order in which they are trained on."""
    placed: npt.NDArray[np.int64]
    """Places in the order, micro-batch by micro-batch; a step's places are those of its examples."""
    bounds: npt.NDArray[np.int64]
    """Where each micro-batch begins among `placed`, by step, part and rank; and where the last one ends."""
    accumulation: int
    ranks: int = 1
    layout: Layout = "packed"

    @classmethod
    def of(
        cls,
        order: Order,
        lengths: npt.NDArray[np.int64],
        batch_size: int,
        micro_tokens: int,
        *,
        ranks: int = 1,
        layout: Layout = "packed",
    ) -> Steps:
        """Cut an order into steps of `batch_size` examples, and each into micro-batches of at most `micro_tokens`."""
        ordered = lengths[order]
        placed = np.empty(len(order), dtype=np.int64)
        sizes: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(order), batch_size):
            groups = divide(ordered[start : start + batch_size].tolist(), micro_tokens, ranks, layout)
            groups = _dealt(groups, ranks)
            flat = np.fromiter(itertools.chain.from_iterable(groups), dtype=np.int64)
            placed[start : start + len(flat)] = start + flat
            sizes.append(np.fromiter(map(len, groups), dtype=np.int64))
        accumulation = max(math.ceil(len(step) / ranks) for step in sizes)
        counts = np.zeros((len(sizes), accumulation * ranks), dtype=np.int64)
        for step, row in zip(sizes, counts, strict=True):
            row[: len(step)] = step
        return cls(order, placed, np.concatenate([[0], np.cumsum(counts)]), accumulation, ranks, layout)

    def __len__(self) -> int:
        return (len(self.bounds) - 1) // (self.accumulation * self.ranks)

    def places(self, step: int, part: int, rank: int = 0) -> npt.NDArray[np.int64]:
        """Places in the order of the examples of one micro-batch."""
        index = (step * self.accumulation + part) * self.ranks + rank
        return self.placed[self.bounds[index] : self.bounds[index + 1]]

    def examples(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of all examples of a step, over all ranks, in the order of the data."""
        together = self.accumulation * self.ranks
        return self.order[self.bounds[step * together] : self.bounds[(step + 1) * together]]


def _dealt(groups: Groups, ranks: int) -> Groups:
    """Every second round is dealt the other way about, so that no rank always gets the largest of a round."""
    rounds = [groups[start : start + ranks] for start in range(0, len(groups), ranks)]
    if len(rounds) == 1 or ranks == 1:
        return groups
    rounds[-1] += [[] for _ in range(ranks - len(rounds[-1]))]
    return [group for i, dealt in enumerate(rounds) for group in (reversed(dealt) if i % 2 else dealt)]


def denominators(corpus: Corpus, steps: Steps, reduction: Reduction) -> npt.NDArray[np.float64]:
    """What each whole step's weighted sum is divided by, over all its micro-batches and ranks; [steps]."""
    if reduction != "token":
        return np.array([len(steps.examples(step)) for step in range(len(steps))], dtype=np.float64)
    masses = _masses(corpus)
    return np.array([math.fsum(masses[steps.examples(step)]) for step in range(len(steps))])


def _masses(corpus: Corpus) -> npt.NDArray[np.float64]:
    """The sum of each example's weights, a few examples in memory at a time."""
    masses = np.empty(len(corpus))
    for start in range(0, len(corpus), _SUMMED_TOGETHER):
        offsets = corpus.offsets[start : start + _SUMMED_TOGETHER + 1]
        weights = corpus.weights[offsets[0] : offsets[-1]].astype(np.float64)
        masses[start : start + len(offsets) - 1] = np.add.reduceat(weights, offsets[:-1] - offsets[0])
    return masses


class MicroBatches(torch.utils.data.Dataset[MicroBatch]):
    """Every micro-batch of one rank of a stage, in the order in which training takes them."""

    def __init__(self, corpus: Corpus, steps: Steps, reduction: Reduction, rank: int = 0, seed: int = 0) -> None:
        """`seed` is the stage's, for the random numbers of its examples."""
        self.corpus, self.steps, self._rank, self._seed = corpus, steps, rank, seed
        self._denominators = denominators(corpus, steps, reduction)
        self._lengths, self._longest = corpus.lengths, corpus.longest

    def __len__(self) -> int:
        return len(self.steps) * self.steps.accumulation

    @cached_property
    def tokens(self) -> npt.NDArray[np.int64]:
        """Of each step, over all ranks; [steps]."""
        return np.array([self._lengths[self.steps.examples(step)].sum() for step in range(len(self.steps))])

    def __getitem__(self, index: int) -> MicroBatch:
        step, part = divmod(index, self.steps.accumulation)
        corpus, steps = self.corpus, self.steps
        places = steps.places(step, part, self._rank)
        conversations = [corpus.conversations(example) for example in steps.order[places]]
        spans = [span for of_example in conversations for span in of_example]
        drawn = [place for place, own in zip(places.tolist(), conversations, strict=True) for _ in own]
        return MicroBatch.of(
            [corpus.ids[span] for span in spans],
            [corpus.parts[span] for span in spans],
            [corpus.weights[span] for span in spans],
            padded=steps.layout != "packed",
            denominator=float(self._denominators[step]),
            first=part == 0,
            longest=int(self._longest[steps.examples(step)].max()),
            draws=Draws(self._seed, tuple(drawn)),
        )
