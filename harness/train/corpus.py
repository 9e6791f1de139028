"""Rendered and weighted examples, flat in memory: what a stage trains on, and how many of what it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.api import Example, Loss
from harness.canonical import Json
from harness.data.chat import Rendered
from harness.errors import UserError
from harness.train.packed import PackedBatch

_WEIGHED_TOGETHER = 65_536
"""Tokens handed to `Loss.weights` at a time."""


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
    example_ids: Sequence[str] = ()
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

    @property
    def scored(self) -> npt.NDArray[np.int64]:
        """Tokens of each example with a weight other than 0."""
        running = np.concatenate([[0], np.cumsum(self.weights != 0)]).astype(np.int64)
        return np.asarray(running[self.offsets[1:]] - running[self.offsets[:-1]])

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


def build(
    examples: Sequence[tuple[str, Example]],
    render: Callable[[str, Example], Rendered],
    loss: Loss,
    *,
    max_length: int,
    reduction: str,
    tick: Callable[[], None] = lambda: None,
) -> Corpus:
    """Render the examples, cut on the right at `max_length` tokens, weigh, and drop what has no scored token left.

    Under `reduction="example"` the weights of each example are scaled to sum to 1.
    Raises UserError when nothing is left to train on, or the loss gives weights that cannot be averaged.
    """
    names = tuple(dict.fromkeys(name for name, _ in examples))
    if not names:
        raise UserError("the mixture holds no examples to train on", "check the data and its fractions")
    ids, parts = [], []
    truncated = special = 0
    for name, example in examples:
        rendered = render(name, example)
        truncated += len(rendered.ids) > max_length
        special += rendered.special_in_text
        ids.append(np.asarray(rendered.ids[:max_length], dtype=np.int32))
        parts.append(np.asarray(rendered.parts[:max_length], dtype=np.uint8))
        tick()
    weights = _weigh(ids, parts, loss)
    if reduction == "example":
        weights = [_normalised(row) for row in weights]
    keep = [i for i, row in enumerate(weights) if row.any()]
    if not keep:
        raise UserError(
            f"none of the {len(ids)} examples of {', '.join(names)} has a token that the loss scores",
            "raise train.max_length or choose another loss",
        )
    return Corpus(
        ids=np.concatenate([ids[i] for i in keep]),
        parts=np.concatenate([parts[i] for i in keep]),
        weights=np.concatenate([weights[i] for i in keep]),
        offsets=np.cumsum([0, *(len(ids[i]) for i in keep)], dtype=np.int64),
        dataset=np.asarray([names.index(examples[i][0]) for i in keep], dtype=np.int32),
        names=names,
        example_ids=[examples[i][1].id for i in keep],
        truncated=truncated,
        dropped=len(ids) - len(keep),
        special_in_text=special,
    )


def _normalised(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    total = math.fsum(weights.tolist())
    return (weights / total).astype(np.float32) if total else weights


def _weigh(
    ids: list[npt.NDArray[np.int32]], parts: list[npt.NDArray[np.uint8]], loss: Loss
) -> list[npt.NDArray[np.float32]]:
    """The loss's weights, 0 on the first token of every example, which nothing predicts."""
    found: list[npt.NDArray[np.float32]] = []
    start = 0
    while start < len(ids):
        stop, tokens = start, 0
        while stop < len(ids) and (stop == start or tokens + len(ids[stop]) <= _WEIGHED_TOGETHER):
            tokens += len(ids[stop])
            stop += 1
        batch = PackedBatch.of(ids[start:stop], parts[start:stop])
        weights = loss.weights(batch)
        if weights.shape != batch.input_ids.shape:
            raise UserError(
                f"the loss's weights have the shape {tuple(weights.shape)}, not {tuple(batch.input_ids.shape)}",
                "return one weight per token",
            )
        if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
            raise UserError("the loss's weights hold negative or non-finite values", "return weights of 0 or more")
        weights = weights.float().masked_fill(batch.position_ids == 0, 0.0)
        found += np.split(weights[0].numpy(), np.cumsum(batch.lengths)[:-1])
        start = stop
    return found
