"""Which conversations a stage trains on: stretches of what has been rendered, in the order of its mixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from harness.data.rendering import Chosen
from harness.errors import UserError
from harness.train.microbatch import MicroBatch

TOGETHER = 65_536
"""Tokens handed to `Loss.weights` at a time."""

Kept = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.number[Any])


@dataclass(frozen=True, eq=False)
class Selection:
    """The conversations of a mixture as stretches of what has been rendered: cut on the right at `max_length` tokens.

    `width` of them in a row are an example: one, or the two of a preference pair, the chosen first.
    """

    mixture: tuple[Chosen, ...]
    item: npt.NDArray[np.int32]
    """Which of the mixture's items each conversation comes from."""
    rows: npt.NDArray[np.int64]
    """Which of its item's rendered conversations each of them is."""
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    truncated: int
    special_in_text: int
    width: int = 1

    @classmethod
    def of(cls, mixture: Sequence[Chosen], max_length: int) -> Selection:
        """Raises UserError for a mixture without examples."""
        if not any(len(chosen.rows) for chosen in mixture):
            raise UserError("the mixture holds no examples to train on", "check the data and its fractions")
        starts = [chosen.rendering.offsets[chosen.rows] for chosen in mixture]
        lengths = np.concatenate([chosen.rendering.offsets[chosen.rows + 1] for chosen in mixture])
        lengths -= np.concatenate(starts)
        return cls(
            mixture=tuple(mixture),
            item=np.repeat(np.arange(len(mixture), dtype=np.int32), [len(chosen.rows) for chosen in mixture]),
            rows=np.concatenate([chosen.rows for chosen in mixture]),
            starts=np.concatenate(starts),
            lengths=np.minimum(lengths, max_length),
            truncated=int((lengths > max_length).sum()),
            special_in_text=sum(int(chosen.rendering.special[chosen.rows].sum()) for chosen in mixture),
        )

    @classmethod
    def paired(cls, chosen: Sequence[Chosen], rejected: Sequence[Chosen], max_length: int) -> Selection:
        """Preference pairs: of each item the conversations with the chosen and those with the rejected answers."""
        one, other = cls.of(chosen, max_length), cls.of(rejected, max_length)
        return cls(
            mixture=(*one.mixture, *other.mixture),
            item=_woven(one.item, other.item + np.int32(len(one.mixture))),
            rows=_woven(one.rows, other.rows),
            starts=_woven(one.starts, other.starts),
            lengths=_woven(one.lengths, other.lengths),
            truncated=one.truncated + other.truncated,
            special_in_text=one.special_in_text + other.special_in_text,
            width=2,
        )

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the datasets, in the order in which they first come."""
        return tuple(dict.fromkeys(chosen.name for chosen in self.mixture if len(chosen.rows)))

    @property
    def dataset(self) -> npt.NDArray[np.int32]:
        """Which of `names` each conversation comes from."""
        names = self.names
        of_item = [names.index(chosen.name) if len(chosen.rows) else 0 for chosen in self.mixture]
        return np.asarray(of_item, dtype=np.int32)[self.item]

    def groups(self) -> Iterator[slice]:
        """Neighbours whose tokens are few enough to be weighed together."""
        ends = np.cumsum(self.lengths)
        start = 0
        while start < len(self):
            limit = ends[start] - self.lengths[start] + TOGETHER
            stop = int(np.searchsorted(ends, limit, side="right"))
            stop = max(start + self.width, stop - stop % self.width)
            yield slice(start, stop)
            start = stop

    def batch(self, group: slice) -> MicroBatch:
        """The group's conversations one after another."""
        ids, parts = [], []
        columns = (self.item[group], self.starts[group], self.starts[group] + self.lengths[group])
        for item, start, end in zip(*(column.tolist() for column in columns), strict=True):
            rendering = self.mixture[item].rendering
            ids.append(rendering.ids[start:end])
            parts.append(rendering.parts[start:end])
        return MicroBatch.of(ids, parts)

    def ids(self, group: slice, keep: Kept) -> list[npt.NDArray[np.uint8]]:
        """What the group's kept examples are called in their datasets, as UTF-8."""
        columns = (self.item[group][keep][:: self.width], self.rows[group][keep][:: self.width])
        return [
            self.mixture[item].rendering.names.encoded(row)
            for item, row in zip(*(column.tolist() for column in columns), strict=True)
        ]


def _woven(one: npt.NDArray[Number], other: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """One of each in turn."""
    return np.stack([one, other], axis=1).ravel()
