"""A key-value cache that grows in blocks."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 128
"""Tokens of room made at a time."""


class BlockLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, views into buffers with room to spare.

    transformers' own layer copies everything for every token; on a CPU that is half of a small model's time.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states, [rows, heads, tokens, width]; returns all there are."""
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        buffers = self._buffers
        # Rows that have finished are dropped by replacing `keys` and `values`; the buffers then no longer fit.
        if buffers is None or total > buffers[0].shape[-2] or len(buffers[0]) != len(key_states):
            room = (total // BLOCK + 1) * BLOCK
            buffers = (_roomy(key_states, self.keys, held, room), _roomy(value_states, self.values, held, room))
            self._buffers = buffers
        for buffer, states in zip(buffers, (key_states, value_states), strict=True):
            buffer[:, :, held:total] = states
        self.keys, self.values = (buffer[:, :, :total] for buffer in buffers)
        return self.keys, self.values


def block_cache(config: Any) -> DynamicCache:
    """An empty cache for a model of this config. Layers with a sliding window stay transformers' own."""
    cache = DynamicCache(config=config)
    cache.layers = [BlockLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _roomy(states: torch.Tensor, held: torch.Tensor, length: int, room: int) -> torch.Tensor:
    rows, heads, _, width = states.shape
    buffer = states.new_empty(rows, heads, room, width)
    if length:
        buffer[:, :, :length] = held
    return buffer
