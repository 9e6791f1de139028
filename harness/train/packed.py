"""One micro-batch: a single row in which several examples stand one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from harness.api import Part
from harness.train.attention import Segments


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """The `Batch` that losses see. All tensors [1, tokens]; position t is the token at t as a target."""

    input_ids: torch.Tensor
    parts: torch.Tensor
    segments: torch.Tensor
    position_ids: torch.Tensor
    """Restart at 0 with every example."""
    lengths: tuple[int, ...]
    weights: torch.Tensor
    """The loss's weights, float32; 0 where nothing is scored."""
    kept: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """Positions with a weight other than 0, [kept]."""
    denominator: float = 0.0
    """What the sum over the whole step is divided by: over all its micro-batches, on all ranks."""
    first: bool = False
    """Whether it opens an optimiser step: where a penalty is counted."""

    @classmethod
    def of(
        cls,
        ids: Sequence[npt.NDArray[np.int32]],
        parts: Sequence[npt.NDArray[np.uint8]],
        weights: Sequence[npt.NDArray[np.float32]] | None = None,
        *,
        denominator: float = 0.0,
        first: bool = False,
    ) -> PackedBatch:
        """Examples packed in the given order; none at all makes one token of padding, which weighs nothing."""
        if not ids:
            pad = np.full(1, Part.PAD, dtype=np.uint8)
            nothing = np.zeros(1, np.float32)
            empty = cls.of([np.zeros(1, np.int32)], [pad], [nothing], denominator=denominator, first=first)
            return replace(empty, segments=torch.full((1, 1), -1))
        lengths = [len(row) for row in ids]
        flat = np.concatenate(weights) if weights is not None else np.zeros(sum(lengths), np.float32)
        return cls(
            input_ids=torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
            parts=torch.from_numpy(np.concatenate(parts))[None],
            segments=torch.from_numpy(np.repeat(np.arange(len(ids)), lengths))[None],
            position_ids=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths]))[None],
            lengths=tuple(lengths),
            weights=torch.from_numpy(flat)[None],
            kept=torch.from_numpy(np.flatnonzero(flat)),
            denominator=denominator,
            first=first,
        )

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
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.parts != Part.PAD).sum())

    @cached_property
    def layout(self) -> Segments:
        """What the attention needs to know."""
        return Segments.of(self.lengths, self.input_ids.device)

    def to(self, device: torch.device) -> PackedBatch:
        """The same micro-batch on a device."""
        if self.input_ids.device == device:
            return self
        tensors = ("input_ids", "parts", "segments", "position_ids", "weights", "kept")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in tensors})
