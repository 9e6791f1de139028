"""Rendered and weighted examples, flat in files mapped into memory: what a stage trains on, and how many of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.api import Loss, Part
from harness.canonical import Json
from harness.data import flat
from harness.data.ids import Ids
from harness.errors import UserError
from harness.execution import Layout
from harness.train.microbatch import MicroBatch
from harness.train.selection import Kept, Selection

_COUNTED_TOGETHER = 8192
_TYPES = {
    "ids": np.int32,
    "parts": np.uint8,
    "weights": np.float32,
    "offsets": np.int64,
    "dataset": np.int32,
    "chosen": np.int64,
    "id_text": np.uint8,
    "id_offsets": np.int64,
}

Reduction = Literal["token", "example", "pair"]
"""What a step's loss is the mean of."""


@dataclass(frozen=True)
class Corpus:
    """Examples in a row: example i holds the tokens `offsets[i]:offsets[i + 1]` of the flat arrays.

    A preference pair is one example: the conversation with the chosen answer, then the one with the rejected answer.
    """

    ids: npt.NDArray[np.int32]
    parts: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    dataset: npt.NDArray[np.int32]
    """Which of `names` each example comes from."""
    names: tuple[str, ...]
    example_ids: Sequence[str] | Ids = ()
    """What each example is called in its dataset."""
    chosen: npt.NDArray[np.int64] | None = None
    """Of preference pairs: tokens of each chosen conversation, after which the rejected one follows."""
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

    @property
    def longest(self) -> npt.NDArray[np.int64]:
        """Tokens of each example's longest conversation; a pair has two."""
        return self.lengths if self.chosen is None else np.maximum(self.chosen, self.lengths - self.chosen)

    def room(self, layout: Layout) -> npt.NDArray[np.int64]:
        """Tokens that each example takes in a micro-batch, with the padding between the two of a pair."""
        return self.lengths if layout == "packed" or self.chosen is None else 2 * self.longest

    def conversations(self, example: int) -> list[slice]:
        """Where in the flat arrays its conversations stand: one, or of a pair the chosen and the rejected."""
        start, end = int(self.offsets[example]), int(self.offsets[example + 1])
        if self.chosen is None:
            return [slice(start, end)]
        cut = start + int(self.chosen[example])
        return [slice(start, cut), slice(cut, end)]

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


@dataclass(frozen=True)
class Weighing:
    """Gives examples the loss's weights; under `reduction="example"` those of each are scaled to sum to 1."""

    loss: Loss
    reduction: Reduction
    unlearnt: int | None = None
    """A token that has no weight where it ends a response."""

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
        if self.unlearnt is not None:
            found[((batch.input_ids == self.unlearnt) & (batch.parts == Part.RESPONSE))[0].numpy()] = 0.0
        if self.reduction == "example":
            rows = np.split(found, np.cumsum(batch.lengths)[:-1])
            return np.concatenate([_normalised(row) for row in rows])
        return found

    def kept(self, selection: Selection) -> Iterator[tuple[slice, MicroBatch, npt.NDArray[np.float32], Kept]]:
        """Group by group the weights, and which conversations are of examples that all have a scored token left."""
        for group in selection.groups():
            batch = selection.batch(group)
            weights = self.weights(batch)
            starts = np.cumsum((0, *batch.lengths[:-1]))
            scored = np.logical_or.reduceat(weights != 0, starts)
            yield group, batch, weights, scored.reshape(-1, selection.width).all(axis=1).repeat(selection.width)

    def lengths(self, selection: Selection) -> npt.NDArray[np.int64]:
        """Tokens of each example that is trained on."""
        keep = [keep for _, _, _, keep in self.kept(selection)]
        kept = selection.lengths[np.concatenate(keep)]
        return np.add.reduceat(kept, np.arange(0, len(kept), selection.width))


def write(
    selection: Selection, weighing: Weighing, folder: Path, report: Callable[[int, int], None] = lambda _done, _of: None
) -> None:
    """Leave in `folder` what `read` reads: the examples, weighed, without those that have no scored token left.

    Raises UserError when nothing is left to train on, or the loss gives weights that cannot be averaged.
    """
    dataset, width, kept, tokens, characters = selection.dataset, selection.width, 0, 0, 0
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
                offsets=tokens + np.cumsum(lengths)[width - 1 :: width],
                dataset=dataset[group][keep][::width],
                chosen=lengths[::width] if width > 1 else lengths[:0],
                id_text=np.concatenate([*named, np.empty(0, dtype=np.uint8)]),
                id_offsets=named_until,
            )
            kept, tokens = kept + len(named), tokens + int(lengths.sum())
            characters = int(named_until[-1]) if named else characters
            report(group.stop // width, len(selection) // width)
        if not kept:
            datasets = ", ".join(selection.names)
            raise UserError(
                f"none of the {len(selection) // width} examples of {datasets} has a token that the loss scores",
                "raise train.max_length or choose another loss",
            )
        writer.seal(
            {
                "names": selection.names,
                "truncated": selection.truncated,
                "dropped": len(selection) // width - kept,
                "paired": width > 1,
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
        chosen=arrays["chosen"] if facts["paired"] else None,
        truncated=facts["truncated"],
        dropped=facts["dropped"],
        special_in_text=facts["special_in_text"],
    )


def _normalised(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    total = math.fsum(weights.tolist())
    return (weights / total).astype(np.float32) if total else weights
