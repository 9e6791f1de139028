"""Rendered and weighted examples, flat in files mapped into memory: what a stage trains on, and how many of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.api import Loss
from harness.canonical import Json
from harness.data import flat
from harness.data.ids import Ids
from harness.data.rendering import Chosen
from harness.errors import UserError
from harness.train.microbatch import MicroBatch

_TOGETHER = 65_536
"""Tokens handed to `Loss.weights` at a time."""
_COUNTED_TOGETHER = 8192
_TYPES = {
    "ids": np.int32,
    "parts": np.uint8,
    "weights": np.float32,
    "offsets": np.int64,
    "dataset": np.int32,
    "id_text": np.uint8,
    "id_offsets": np.int64,
}

Kept = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Corpus:
    """Examples in a row: example i holds the tokens `offsets[i]:offsets[i + 1]` of the flat arrays."""

    ids: npt.NDArray[np.int32]
    parts: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    dataset: npt.NDArray[np.int32]
    """Which of `names` each example comes from."""
    names: tuple[str, ...]
    example_ids: Sequence[str] | Ids = ()
    """What each example is called in its dataset."""
    truncated: int = 0
    dropped: int = 0
    special_in_text: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def origin(self, example: int) -> tuple[str, str]:
        """The name of an example's dataset, and its id there."""
        return self.names[self.dataset[example]], self.example_ids[example]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.offsets)

    @cached_property
    def scored(self) -> npt.NDArray[np.int64]:
        """Tokens of each example with a weight other than 0."""
        counts = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), _COUNTED_TOGETHER):
            offsets = self.offsets[start : start + _COUNTED_TOGETHER + 1]
            scored = self.weights[offsets[0] : offsets[-1]] != 0
            counts[start : start + _COUNTED_TOGETHER] = np.add.reduceat(
                scored, offsets[:-1] - offsets[0], dtype=np.int64
            )
        return counts

    def counts(self, order: npt.NDArray[np.int64]) -> Json:
        """Per dataset, the examples, tokens and scored tokens that training in this order sees."""
        lengths, scored, dataset = self.lengths[order], self.scored[order], self.dataset[order]
        return {
            name: {
                "examples": int((dataset == i).sum()),
                "tokens": int(lengths[dataset == i].sum()),
                "scored_tokens": int(scored[dataset == i].sum()),
            }
            for i, name in enumerate(self.names)
        }


@dataclass(frozen=True, eq=False)
class Selection:
    """The examples of a mixture as stretches of what has been rendered: cut on the right at `max_length` tokens."""

    mixture: tuple[Chosen, ...]
    item: npt.NDArray[np.int32]
    """Which of the mixture's items each example comes from."""
    rows: npt.NDArray[np.int64]
    """Which of its item's rendered conversations each example is."""
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    truncated: int
    special_in_text: int

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

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the datasets, in the order in which they first come."""
        return tuple(dict.fromkeys(chosen.name for chosen in self.mixture if len(chosen.rows)))

    @property
    def dataset(self) -> npt.NDArray[np.int32]:
        """Which of `names` each example comes from."""
        names = self.names
        of_item = [names.index(chosen.name) if len(chosen.rows) else 0 for chosen in self.mixture]
        return np.asarray(of_item, dtype=np.int32)[self.item]

    def groups(self) -> Iterator[slice]:
        """Neighbours whose tokens are few enough to be weighed together."""
        ends = np.cumsum(self.lengths)
        start = 0
        while start < len(self):
            limit = ends[start] - self.lengths[start] + _TOGETHER
            stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
            yield slice(start, stop)
            start = stop

    def batch(self, group: slice) -> MicroBatch:
        """The group's examples one after another."""
        ids, parts = [], []
        columns = (self.item[group], self.starts[group], self.starts[group] + self.lengths[group])
        for item, start, end in zip(*(column.tolist() for column in columns), strict=True):
            rendering = self.mixture[item].rendering
            ids.append(rendering.ids[start:end])
            parts.append(rendering.parts[start:end])
        return MicroBatch.of(ids, parts)

    def ids(self, group: slice, keep: Kept) -> list[npt.NDArray[np.uint8]]:
        """What the group's kept examples are called in their datasets, as UTF-8."""
        columns = (self.item[group][keep], self.rows[group][keep])
        return [
            self.mixture[item].rendering.names.encoded(row)
            for item, row in zip(*(column.tolist() for column in columns), strict=True)
        ]


@dataclass(frozen=True)
class Weighing:
    """Gives examples the loss's weights; under `reduction="example"` those of each are scaled to sum to 1."""

    loss: Loss
    reduction: str

    def weights(self, batch: MicroBatch) -> npt.NDArray[np.float32]:
        """One for each token, [tokens]; 0 on the first of every example, which nothing predicts.

        Raises UserError for weights that cannot be averaged.
        """
        weights = self.loss.weights(batch)
        if weights.shape != batch.input_ids.shape:
            raise UserError(
                f"the loss's weights have the shape {tuple(weights.shape)}, not {tuple(batch.input_ids.shape)}",
                "return one weight per token",
            )
        found = weights.detach().float()[0].numpy().copy()
        if not np.isfinite(found).all() or (found < 0).any():
            raise UserError("the loss's weights hold negative or non-finite values", "return weights of 0 or more")
        found[np.cumsum((0, *batch.lengths[:-1]))] = 0.0
        if self.reduction == "example":
            rows = np.split(found, np.cumsum(batch.lengths)[:-1])
            return np.concatenate([_normalised(row) for row in rows])
        return found

    def kept(self, selection: Selection) -> Iterator[tuple[slice, MicroBatch, npt.NDArray[np.float32], Kept]]:
        """Group by group the weights, and which examples have a token left that is scored."""
        for group in selection.groups():
            batch = selection.batch(group)
            weights = self.weights(batch)
            starts = np.cumsum((0, *batch.lengths[:-1]))
            yield group, batch, weights, np.logical_or.reduceat(weights != 0, starts)

    def lengths(self, selection: Selection) -> npt.NDArray[np.int64]:
        """Tokens of each example that is trained on."""
        keep = [keep for _, _, _, keep in self.kept(selection)]
        return selection.lengths[np.concatenate(keep)]


def write(
    selection: Selection, weighing: Weighing, folder: Path, report: Callable[[int, int], None] = lambda _done, _of: None
) -> None:
    """Leave in `folder` what `read` reads: the examples, weighed, without those that have no scored token left.

    Raises UserError when nothing is left to train on, or the loss gives weights that cannot be averaged.
    """
    dataset, kept, tokens, characters = selection.dataset, 0, 0, 0
    with flat.Writer(folder, _TYPES) as writer:
        writer.append(offsets=np.zeros(1, dtype=np.int64), id_offsets=np.zeros(1, dtype=np.int64))
        for group, batch, weights, keep in weighing.kept(selection):
            lengths, named = selection.lengths[group][keep], selection.ids(group, keep)
            named_until = characters + np.cumsum([len(text) for text in named], dtype=np.int64)
            mask = slice(None) if keep.all() else np.repeat(keep, batch.lengths)
            writer.append(
                ids=batch.input_ids[0].numpy()[mask],
                parts=batch.parts[0].numpy()[mask],
                weights=weights[mask],
                offsets=tokens + np.cumsum(lengths),
                dataset=dataset[group][keep],
                id_text=np.concatenate([*named, np.empty(0, dtype=np.uint8)]),
                id_offsets=named_until,
            )
            kept, tokens = kept + len(lengths), tokens + int(lengths.sum())
            characters = int(named_until[-1]) if named else characters
            report(group.stop, len(selection))
        if not kept:
            datasets = ", ".join(selection.names)
            raise UserError(
                f"none of the {len(selection)} examples of {datasets} has a token that the loss scores",
                "raise train.max_length or choose another loss",
            )
        writer.seal(
            {
                "names": selection.names,
                "truncated": selection.truncated,
                "dropped": len(selection) - kept,
                "special_in_text": selection.special_in_text,
            }
        )


def read(folder: Path) -> Corpus:
    """The corpus that `write` left, mapped into memory."""
    arrays, facts = flat.mapped(folder)
    return Corpus(
        **{name: arrays[name] for name in ("ids", "parts", "weights", "offsets", "dataset")},
        example_ids=Ids(arrays["id_text"], arrays["id_offsets"]),
        names=tuple(facts["names"]),
        truncated=facts["truncated"],
        dropped=facts["dropped"],
        special_in_text=facts["special_in_text"],
    )


def _normalised(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    total = math.fsum(weights.tolist())
    return (weights / total).astype(np.float32) if total else weights
