"""How fast a stage trains: tokens per second, and the share of the hardware's peak that its useful work is (MFU).

Useful is what the result needs, computed once: padding, activations computed again (gradient checkpointing), adapters
and logits of tokens that are not scored count nothing. So the MFU (model FLOPs utilisation, arXiv:2204.02311) never
rises because work is wasted.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.peaks import datasheet_peak

Lengths = npt.NDArray[np.int64]

_FORWARD, _TO_INPUTS, _TO_WEIGHTS = 2, 2, 2
"""FLOPs of a multiplication by a matrix, per weight and token: itself, and each of its two gradients."""

_RECENT_SECONDS = 20.0
"""The speed that is shown is that of the last so many seconds."""


def peak_tflops(device: torch.device, stated: float | None) -> float | None:
    """The peak of one device: as stated, else its datasheet's; None for a CPU and for GPUs not in the table."""
    if stated is not None or device.type != "cuda":
        return stated
    return datasheet_peak(torch.cuda.get_device_name(device))


@dataclass(frozen=True)
class Work:
    """The useful FLOPs of training a network, forward and backward."""

    token: float
    """In its matrices, for every token."""
    scored_token: float
    """In its head, for every token that is scored."""
    pair: tuple[tuple[float, int | None], ...]
    """In its attention, for every pair of a token and one that it looks at: by layers with equal windows."""

    @classmethod
    def known(cls, network: Any) -> Work | None:
        """As `of`; None where the network's configuration does not name its shape in the usual words."""
        try:
            return cls.of(network)
        except (AttributeError, RuntimeError):  # the latter where layers differ in shape
            return None

    @classmethod
    def of(cls, network: Any) -> Work:
        """That of a transformers causal language model.

        A weight takes 2 FLOPs a token forward, 2 for the gradient of its input and 2 for its own where it is trained:
        6 N for N weights, 4 N where they are frozen. A pair takes 2 FLOPs for its score and 2 for its share of the
        value, times the width of all heads, and twice that again backward.
        """
        config, head = network.config.get_text_config(), network.get_output_embeddings()
        matrices = 0.0
        for name, module in network.named_modules():
            if module is head or isinstance(module, torch.nn.Embedding) or "lora_" in name:
                continue
            share = _active_experts(config) if ".experts" in name else 1.0
            for kind, parameter in module.named_parameters(recurse=False):
                matrices += share * _cost(_entries(module, kind, parameter), parameter)
        weight = head.weight
        return cls(matrices, _cost(_entries(head, "weight", weight), weight), tuple(_attention(config)))

    def examples(self, lengths: Lengths, scored: Lengths) -> npt.NDArray[np.float64]:
        """FLOPs of each example, from its tokens and its scored tokens; [examples]."""
        flops = lengths * self.token + scored * self.scored_token
        for cost, window in self.pair:
            flops = flops + cost * _pairs(lengths, window)
        return np.asarray(flops, dtype=np.float64)


def _entries(module: Any, kind: str, parameter: Any) -> int:
    """Entries of a matrix, 0 of a vector; also of one that is quantised, or sharded over ranks."""
    if kind == "weight" and isinstance(module, torch.nn.Linear):
        return module.in_features * module.out_features
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return math.prod(shape) if len(shape) > 1 else 0


def _cost(entries: int, parameter: Any) -> float:
    return float(entries * (_FORWARD + _TO_INPUTS + (_TO_WEIGHTS if parameter.requires_grad else 0)))


def _active_experts(config: Any) -> float:
    """The share of a mixture's experts that each token passes."""
    counts = (getattr(config, name, None) for name in ("num_local_experts", "num_experts", "n_routed_experts"))
    count = next(filter(None, counts), None)
    if count is None:
        raise AttributeError("the configuration does not say how many experts there are")
    return float(config.num_experts_per_tok) / float(count)


def _attention(config: Any) -> Iterable[tuple[float, int | None]]:
    """FLOPs of a pair and the window, of all layers that share it; nothing where there are no heads (Mamba, RWKV)."""
    if not hasattr(config, "num_attention_heads"):
        return
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    narrow = sum(kind == "sliding_attention" for kind in kinds) if window else 0
    cost = 3.0 * 2 * (_FORWARD * width)
    if narrow:
        yield cost * narrow, window
    if layers > narrow:
        yield cost * (layers - narrow), None


def _pairs(lengths: Lengths, window: int | None) -> Lengths:
    """Tokens that all tokens of an example look at, themselves included."""
    inside = lengths if window is None else np.minimum(lengths, window)
    return np.asarray(inside * (inside + 1) // 2 + (lengths - inside) * inside)


@dataclass(frozen=True)
class Speed:
    """How fast it goes at the moment."""

    tokens_per_second: float
    """Over all ranks, padding not counted."""
    mfu: float | None
    """None where no peak is known."""
    seconds_left: float


class Meter:
    """Follows a stage's steps, whose work is known before they are done."""

    def __init__(self, tokens: Lengths, flops: npt.NDArray[np.float64], peak: float | None) -> None:
        """`tokens` and `flops` of every step, over all ranks; `peak` of all devices together, in FLOP/s."""
        self._tokens = np.concatenate([[0], np.cumsum(tokens)])
        self._flops = np.concatenate([[0.0], np.cumsum(flops)])
        self._peak = peak
        self._recent: deque[tuple[float, int]] = deque()

    def start(self, done: int) -> None:
        """So many steps are done; the clock runs from now on."""
        self._recent = deque([(time.monotonic(), done)])

    def step(self, done: int) -> Speed:
        """So many steps are done now."""
        now = time.monotonic()
        self._recent.append((now, done))
        while len(self._recent) > 2 and now - self._recent[1][0] >= _RECENT_SECONDS:  # noqa: PLR2004 -- two make a rate
            self._recent.popleft()
        then, before = self._recent[0]
        seconds = max(now - then, 1e-9)
        rate = float(self._tokens[done] - self._tokens[before]) / seconds
        left = float(self._tokens[-1] - self._tokens[done]) / max(rate, 1e-9)
        return Speed(rate, self._mfu(before, done, seconds), left)

    def tokens(self, done: int) -> int:
        """Tokens of the first `done` steps."""
        return int(self._tokens[done])

    def mfu(self, seconds: float) -> float | None:
        """Of the whole stage, done in so many seconds."""
        return self._mfu(0, len(self._flops) - 1, seconds)

    def _mfu(self, first: int, last: int, seconds: float) -> float | None:
        if self._peak is None:
            return None
        return float(self._flops[last] - self._flops[first]) / max(seconds, 1e-9) / self._peak


def speed_note(loss: float, speed: Speed) -> str:
    """`loss 1.234, 12.3k tok/s, 41 % MFU`."""
    rate = speed.tokens_per_second
    said = [f"loss {loss:.3f}", f"{rate / 1000:.1f}k tok/s" if rate >= 1000 else f"{rate:.0f} tok/s"]  # noqa: PLR2004
    return ", ".join(said if speed.mfu is None else [*said, f"{100 * speed.mfu:.0f} % MFU"])
