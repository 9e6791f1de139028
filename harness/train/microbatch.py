"""One micro-batch: its examples as losses see them, and as the network is called with them.

Losses see a single row in which the examples stand one after the other, whatever the layout. The network sees that row
divided into segments, or (`padded`) a row of its own for each example, padded on the right to the longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.api import Part
from harness.train.attention import Segments

_LEVELS = 2**15
"""Random numbers are its inverse apart: 16 bits each, four from every draw."""


@dataclass(frozen=True)
class Draws:
    """What the random numbers of a micro-batch's examples depend on, and nothing else."""

    seed: int = 0
    """Of the stage."""
    places: tuple[int, ...] = ()
    """Where each example stands in the order of the stage: no two epochs draw alike."""

    def levels(self, example: int, count: int) -> npt.NDArray[np.int16]:
        """Equally likely integers for one example of the micro-batch; a longer draw continues a shorter one.

        Philox (Salmon et al., 2011) is a function of its key: there is no state to restore or to share out over ranks.
        """
        key = np.array([self.seed % 2**64, self.places[example]], dtype=np.uint64)
        drawn = np.random.Philox(key=key).random_raw(-(-count // 4))
        return np.asarray(drawn, dtype="<u8").view("<i2")[:count]


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """The `Batch` that losses see. All tensors [1, tokens]; position t is the token at t as a target."""

    input_ids: torch.Tensor
    parts: torch.Tensor
    segments: torch.Tensor
    position_ids: torch.Tensor
    """Restart at 0 with every example."""
    lengths: tuple[int, ...]
    """Tokens of each example."""
    weights: torch.Tensor
    """The loss's weights, float32; 0 where nothing is scored."""
    kept: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """Positions with a weight other than 0, [kept]."""
    padded: bool = False
    """Whether each example is a row of the network's, padded to the longest."""
    denominator: float = 0.0
    """What the sum over the whole step is divided by: over all its micro-batches, on all ranks."""
    first: bool = False
    """Whether it opens an optimiser step: where a penalty is counted."""
    longest: int = 0
    """Tokens of the longest example of the whole optimiser step."""
    draws: Draws = field(default_factory=Draws)

    @classmethod
    def of(
        cls,
        ids: Sequence[npt.NDArray[np.int32]],
        parts: Sequence[npt.NDArray[np.uint8]],
        weights: Sequence[npt.NDArray[np.float32]] | None = None,
        *,
        padded: bool = False,
        denominator: float = 0.0,
        first: bool = False,
        longest: int | None = None,
        draws: Draws | None = None,
    ) -> MicroBatch:
        """Examples in the given order; none at all makes one token of padding, which weighs nothing.

        Where nothing is said of the step and the stage, the examples are taken to be all there is.
        """
        if not ids:
            pad, nothing = np.full(1, Part.PAD, dtype=np.uint8), np.zeros(1, np.float32)
            empty = cls.of([np.zeros(1, np.int32)], [pad], [nothing], denominator=denominator, first=first)
            return replace(empty, segments=torch.full((1, 1), -1), padded=padded)
        lengths = [len(row) for row in ids]
        slots = [max(lengths)] * len(lengths) if padded else lengths
        positions = np.concatenate([np.arange(n) for n in slots])
        real = positions < np.repeat(lengths, slots)

        def spread(rows: Sequence[npt.NDArray[Any]], padding: int, dtype: type) -> npt.NDArray[Any]:
            flat: npt.NDArray[Any] = np.full(len(real), padding, dtype)
            flat[real] = np.concatenate(rows)
            return flat

        scores = spread(weights, 0, np.float32) if weights is not None else np.zeros(len(real), np.float32)
        segments = [np.full(length, segment) for segment, length in enumerate(lengths)]
        return cls(
            input_ids=torch.from_numpy(spread(ids, 0, np.int64))[None],
            parts=torch.from_numpy(spread(parts, Part.PAD, np.uint8))[None],
            segments=torch.from_numpy(spread(segments, -1, np.int64))[None],
            position_ids=torch.from_numpy(positions)[None],
            lengths=tuple(lengths),
            weights=torch.from_numpy(scores)[None],
            kept=torch.from_numpy(np.flatnonzero(scores)),
            padded=padded,
            denominator=denominator,
            first=first,
            longest=longest or max(lengths),
            draws=draws or Draws(places=tuple(range(len(ids)))),
        )

    # --- what losses ask ------------------------------------------------------------------------------------------

    def is_part(self, *parts: Part) -> torch.Tensor:
        """1.0 where the token is one of the parts, else 0.0; float32."""
        wanted = torch.tensor([int(part) for part in parts], dtype=self.parts.dtype, device=self.parts.device)
        return torch.isin(self.parts, wanted).float()

    def leads(self, part: Part) -> torch.Tensor:
        """1.0 on the unbroken run of `part` with which each example begins, else 0.0; float32."""
        other = (self.parts != part).long()
        so_far = other.cumsum(1)
        start = torch.arange(other.shape[1], device=other.device) - self.position_ids
        since_start = so_far - (so_far - other).gather(1, start)
        return (since_start == 0).float()

    @property
    def example_lengths(self) -> torch.Tensor:
        """Tokens of the example that each token belongs to, int64; 0 on padding."""
        # Padding is segment -1, and so finds the 0 at the end.
        return torch.tensor([*self.lengths, 0], device=self.segments.device)[self.segments]

    def uniform(self, width: int) -> torch.Tensor:
        """Random numbers above -1 and below 1, [1, tokens, width], float32; 0 on padding."""
        real = (self.segments[0] >= 0).nonzero()[:, 0]
        drawn = torch.zeros(self.segments.shape[1], width, device=self.segments.device)
        if len(real):
            levels = [self.draws.levels(i, n * width).reshape(n, width) for i, n in enumerate(self.lengths)]
            drawn[real] = torch.from_numpy(np.concatenate(levels)).to(drawn.device).float().add(0.5).div(_LEVELS)
        return drawn.unsqueeze(0)

    def pairs(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of values, [1, tokens], over the chosen and over the rejected conversations of pairs, [pairs] each.

        They stand in turn; a micro-batch that only fills a step up holds no pair.
        """
        if self.padded:
            sums = values.view(len(self.lengths), -1).sum(1)
        else:
            sums = torch.stack([conversation.sum() for conversation in torch.split(values[0], list(self.lengths))])
        pairs = len(self.lengths) // 2
        return sums[0 : 2 * pairs : 2], sums[1 : 2 * pairs : 2]

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.parts != Part.PAD).sum())

    # --- what the network is given --------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """Arguments of the network's forward, besides `use_cache`."""
        if not self.padded:
            segments = Segments.of(self.lengths, self.input_ids.device)
            return {"input_ids": self.input_ids, "position_ids": self.position_ids, "segments": segments}
        rows = (len(self.lengths), -1)
        lengths = torch.tensor(self.lengths, device=self.input_ids.device)
        mask = self.position_ids.view(rows) < lengths[:, None]
        # Positions are left to the network: padding stands on the right, so that they are what it counts itself.
        return {"input_ids": self.input_ids.view(rows), "attention_mask": mask.long()}

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on a device."""
        if self.input_ids.device == device:
            return self
        tensors = ("input_ids", "parts", "segments", "position_ids", "weights", "kept")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in tensors})
