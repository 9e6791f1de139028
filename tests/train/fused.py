"""Compares Liger's losses and gradients with ours on a CPU, in Triton's interpreter; prints the largest differences.

The interpreter (of Triton 3.9) knows no `float.to`, so that soft capping cannot be tried so.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch

from harness.train.loss import CausalModel, Head


def differences(tokens: int, *, scale: float, bias: bool, frozen: bool) -> dict[str, float]:
    """Of the losses, and of the gradients of hidden states, weight and bias, where tokens weigh differently."""
    draw = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(24, 300, bias=bias)
    linear.weight.data.normal_(generator=draw)
    linear.requires_grad_(not frozen)
    hidden = torch.randn(tokens, 24, generator=draw, requires_grad=True)
    targets = torch.randint(300, (tokens,), generator=draw)
    weights = torch.rand(tokens, generator=draw) * 3
    head = Head(linear, scale)
    found = []
    for fused in (False, True):
        losses = CausalModel(None, head, 5, fused)._losses(hidden, targets)
        wanted = {"hidden": hidden, **({} if frozen else dict(linear.named_parameters()))}
        gradients = torch.autograd.grad((losses * weights).sum(), list(wanted.values()))
        found.append({"losses": losses.detach(), **dict(zip(wanted, gradients, strict=True))})
    ours, theirs = found
    return {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}


if __name__ == "__main__":
    cases = [
        {"tokens": 37, "scale": 1.0, "bias": False, "frozen": False},
        {"tokens": 37, "scale": 0.25, "bias": True, "frozen": False},
        {"tokens": 1, "scale": 1.0, "bias": False, "frozen": True},
    ]
    sys.stdout.write(json.dumps([differences(**case) for case in cases]))
