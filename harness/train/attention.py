"""Attention over packed rows: every segment attends to itself alone, causally, and no dense mask is ever built.

Registered with transformers as `harness_segments`. A model loaded with it must be called with `segments=Segments(...)`;
nothing else (`use_cache`, masks, position ids) can let one segment see another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 -- the field's name for it
from transformers import AttentionInterface, AttentionMaskInterface

from harness.errors import UserError

ATTENTION = "harness_segments"

FEATURES = ("softcap", "s_aux")
"""What some layers ask of their attention, and torch's does not compute: soft-capped scores, and sinks."""

_SHORT = 64
"""Segments up to this length share a bucket whatever their lengths: a kernel call costs more than the padding."""


@dataclass(frozen=True)
class Bucket:
    """Consecutive segments of similar length, computed together as `count` rows padded on the right to `length`.

    Padding follows every real token of its row, so causal attention never looks at it.
    """

    tokens: int
    count: int
    length: int
    slots: torch.Tensor | None
    """Where each token goes among the `count * length` slots; None when nothing is padded."""


@dataclass(frozen=True)
class Segments:
    """How one packed row [1, tokens] divides into segments."""

    lengths: tuple[int, ...]
    buckets: tuple[Bucket, ...]
    bounds: torch.Tensor
    """Cumulative lengths from 0, int32, [segments + 1]."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Segments:
        """The division of a row into segments of the given lengths, in order."""
        bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        groups = tuple(_bucket(group, device) for group in _groups(lengths))
        return cls(tuple(lengths), groups, bounds.to(device))


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Runs of lengths within a factor of two of one another, or all short."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups:
            longest, shortest = max(groups[-1][0], length), min(groups[-1][-1], length)
            if longest <= max(_SHORT, 2 * shortest) and groups[-1][0] >= length:
                groups[-1].append(length)
                continue
        groups.append([length])
    return groups


def _bucket(lengths: Sequence[int], device: torch.device) -> Bucket:
    count, longest, tokens = len(lengths), max(lengths), sum(lengths)
    if tokens == count * longest:
        return Bucket(tokens, count, longest, None)
    slots = torch.cat([torch.arange(length) + row * longest for row, length in enumerate(lengths)])
    return Bucket(tokens, count, longest, slots.to(device))


@dataclass(frozen=True)
class Scoring:
    """What a layer asks of its attention besides causality."""

    scale: float | None
    dropout: float
    window: int | None
    """Tokens a token may look at, itself included; None for all before it."""


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a packed row: query [1, heads, tokens, width] -> [1, tokens, heads, width].

    Raises UserError for models whose attention needs what is not here (soft capping, sinks, cross attention).
    """
    _refuse(module, attention_mask, segments, unused)
    assert segments is not None
    if torch.is_autocast_enabled(query.device.type):
        # Rotary embeddings leave queries and keys in float32, and no fast kernel takes those.
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    window = sliding_window if sliding_window is not None and max(segments.lengths) > sliding_window else None
    scoring = Scoring(scaling, dropout, window)
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        rows = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]
        return _varlen()(*rows, segments, scoring).unsqueeze(0), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return _bucketed(query[0], key[0], value[0], segments, scoring), None


def _refuse(
    module: torch.nn.Module,
    mask: torch.Tensor | None,
    segments: Segments | None,
    asked: Mapping[str, Any],
) -> None:
    name, remedy = type(module).__name__, "--set train.layout=grouped"
    for feature in FEATURES:
        if asked.get(feature) is not None:
            raise UserError(f"{name} uses {feature}, which packed training does not compute", remedy)
    if segments is None or mask is not None:
        raise UserError(f"{name} does not pass packed segments on to its attention", remedy)


def _bucketed(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    scoring: Scoring,
) -> torch.Tensor:
    """One SDPA call per bucket; tensors [heads, tokens, width] -> [1, tokens, heads, width]."""
    sizes = [bucket.tokens for bucket in segments.buckets]
    outputs = []
    parts = zip(*(torch.split(tensor, sizes, dim=1) for tensor in (query, key, value)), strict=True)
    for bucket, (q, k, v) in zip(segments.buckets, parts, strict=True):
        mask = None if scoring.window is None else _window_mask(bucket.length, scoring.window, query.device)
        output = F.scaled_dot_product_attention(
            _spread(q, bucket),
            _spread(k, bucket),
            _spread(v, bucket),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scoring.scale,
            dropout_p=scoring.dropout,
        )
        outputs.append(_gather(output, bucket))
    return torch.cat(outputs, dim=1).transpose(0, 1).contiguous().unsqueeze(0)


def _spread(part: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    """[heads, tokens, width] -> [heads, count, length, width], zeros where padded."""
    heads, _, width = part.shape
    if bucket.slots is not None:
        part = part.new_zeros(heads, bucket.count * bucket.length, width).index_copy(1, bucket.slots, part)
    return part.reshape(heads, bucket.count, bucket.length, width)


def _gather(output: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    flat = output.flatten(1, 2)
    return flat if bucket.slots is None else flat.index_select(1, bucket.slots)


def _window_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a token may look: itself and the `window - 1` before it."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None, :]
    return (distance >= 0) & (distance < window)


def kernel(device: torch.device, dtype: torch.dtype) -> str:
    """Name of the implementation that runs for tensors of this kind."""
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        return "flash-attn" if find_spec("flash_attn") else "torch-varlen"
    return "segment-sdpa"


Varlen = Callable[..., torch.Tensor]


@cache
def _varlen() -> Varlen:
    """Variable-length attention over [tokens, heads, width]."""
    return _flash_varlen if find_spec("flash_attn") else _torch_varlen


def _flash_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    scoring: Scoring,
) -> torch.Tensor:
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]

    longest = max(segments.lengths)
    result: torch.Tensor = flash_attn_varlen_func(
        query,
        key,
        value,
        segments.bounds,
        segments.bounds,
        longest,
        longest,
        dropout_p=scoring.dropout,
        softmax_scale=scoring.scale,
        causal=True,
        window_size=(-1, -1) if scoring.window is None else (scoring.window - 1, 0),
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
    return result


def _torch_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    scoring: Scoring,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if scoring.dropout:
        raise UserError("attention dropout needs flash-attention on a GPU", "pip install flash-attn")
    longest = max(segments.lengths)
    result = varlen_attn(
        query,
        key,
        value,
        segments.bounds,
        segments.bounds,
        longest,
        longest,
        scale=scoring.scale,
        window_size=(-1 if scoring.window is None else scoring.window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(result, torch.Tensor)
    return result


def _no_mask(*_: Any, **__: Any) -> None:
    """Segments carry what a mask would say."""


AttentionInterface.register(ATTENTION, segment_attention)
AttentionMaskInterface.register(ATTENTION, _no_mask)
