"""The `merge` job: several models' weights averaged into one, a shard at a time.

`sum(a_j M_j)` (arXiv:2405.13432), accumulated in float32 and stored in the first parent's own dtype.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness.canonical import Json
from harness.context import Context
from harness.errors import UserError
from harness.jobs import Merge
from harness.machine import failures_named
from harness.modelfolder import CONFIG, INDEX, copy_companions, weight_files


@dataclass(frozen=True)
class Parent:
    """One model of the mean: its share, and which open file holds each of its tensors."""

    stage: str
    weight: Fraction
    folder: Path
    tensors: dict[str, Any]

    @classmethod
    def open(cls, stage: str, weight: Fraction, folder: Path, stack: ExitStack) -> Parent:
        """Open the model's files lazily; tensors are read one at a time."""
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in weight_files(folder)]
        return cls(stage, weight, folder, {name: file for file in files for name in file.keys()})  # noqa: SIM118

    def read(self, name: str) -> torch.Tensor:
        """One tensor as it is stored."""
        tensor: torch.Tensor = self.tensors[name].get_tensor(name)
        return tensor


def merge(declared: Merge, context: Context) -> Json:
    """Leave the weighted mean of the parents in `context.folder/model`, with the first parent's tokenizer and config.

    Raises UserError for parents whose tensors differ in name, shape or kind.
    """
    started = time.perf_counter()
    target = context.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with failures_named("merging", context.folder), ExitStack() as stack:
        parents = [
            Parent.open(stage, Fraction(weight), context.parents[stage] / "model", stack)
            for stage, weight in declared.weights
        ]
        _check_names(parents)
        first = parents[0].folder
        parameters = 0
        for path in weight_files(first):
            shard = {name: _mean(name, parents) for name in _names(path)}
            parameters += sum(tensor.numel() for tensor in shard.values())
            save_file(shard, target / path.name, metadata={"format": "pt"})
        for name in (CONFIG, INDEX):
            if (first / name).exists():
                shutil.copyfile(first / name, target / name)
        copy_companions(first, target)
    return {
        "result": {"models": len(parents), "parameters": parameters},
        "measured": {"seconds": time.perf_counter() - started},
    }


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return sorted(file.keys())


def _check_names(parents: Sequence[Parent]) -> None:
    first = parents[0]
    for other in parents[1:]:
        unshared = sorted(set(first.tensors) ^ set(other.tensors))
        if unshared:
            raise UserError(
                f"the stages {first.stage} and {other.stage} cannot be averaged: only one of them has {unshared[0]}",
                "merge stages that start from the same model",
            )


def _mean(name: str, parents: Sequence[Parent]) -> torch.Tensor:
    """The weighted mean of one tensor; tensors of whole numbers (buffers) must agree and are kept."""
    first = parents[0]
    like = first.read(name)
    total = torch.zeros_like(like, dtype=torch.float32)
    for parent in parents:
        tensor = parent.read(name)
        same_kind = tensor.shape == like.shape and tensor.is_floating_point() == like.is_floating_point()
        if not same_kind or not (like.is_floating_point() or torch.equal(tensor, like)):
            raise UserError(
                f"the stages {first.stage} and {parent.stage} cannot be averaged: {name} differs in shape or kind",
                "merge stages that start from the same model",
            )
        total.add_(tensor.float(), alpha=float(parent.weight))
    return total.to(like.dtype) if like.is_floating_point() else like
