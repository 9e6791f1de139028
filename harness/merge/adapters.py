"""Low-rank adapters (LoRA, arXiv:2106.09685) as peft leaves them: a model with adapters, and adapters merged apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.merge.tensors import Stored, Tensors

ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_BEYOND = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")
"""Settings beyond plain LoRA; where one is set, the adapters are more than `scale * B A`."""
_BASE_UNTOUCHED = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` with which training starts from the base as it is; others (PiSSA, OLoRA, CorDA, LoftQ)
put something else in the place of its weights, which an adapter's folder does not hold."""


@dataclass(frozen=True)
class Adapter:
    """The A [rank, in] and B [out, rank] of the layers that have some; `W + scale B A` is a layer's merged weight."""

    tensors: Stored
    rank: int
    scale: float
    transposed: bool
    """Whether layers keep their weights as [in, out]."""
    read: Callable[[str], torch.Tensor]
    """Whence an A or B is taken by its name."""

    @classmethod
    def open(cls, folder: Path) -> Adapter:
        """Raises UserError for a folder without adapters, and for adapters that are no plain LoRA."""
        files = folder / ADAPTER_CONFIG, folder / _WEIGHTS
        if missing := [path.name for path in files if not path.is_file()]:
            raise UserError(f"no adapter in {folder}: {missing[0]} is missing", "name a folder that peft has saved")
        config = json.loads(files[0].read_text(encoding="utf-8"))
        tensors = Stored((files[1],))
        other = [name for name in _BEYOND if config.get(name)]
        if (init := config.get("init_lora_weights")) not in _BASE_UNTOUCHED:
            other.append(f"init_lora_weights={init}")
        other += [name for name in tensors.names if not name.endswith((_A, _B))]
        if config.get("peft_type") != "LORA" or other:
            what = other[0] if other else config.get("peft_type")
            raise UserError(
                f"the adapter in {folder} is no plain LoRA: {what}", "merge it into its model with peft first"
            )
        for name in sorted(tensors.names):
            pair = name.removesuffix(_A) + _B if name.endswith(_A) else name.removesuffix(_B) + _A
            if pair not in tensors.names:
                raise UserError(f"the adapter in {folder} is not whole: {pair} is missing", "save it again with peft")
        rank = int(config["r"])
        scale = float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)
        return cls(tensors, rank, scale, bool(config.get("fan_in_fan_out")), tensors.read)

    @cached_property
    def weights(self) -> dict[str, tuple[str, str]]:
        """By weight of the model the names of its A and B."""
        layers = sorted({name.removesuffix(_A).removesuffix(_B) for name in self.tensors.names})
        return {f"{layer.removeprefix(_PREFIX)}.weight": (layer + _A, layer + _B) for layer in layers}

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """By weight of the model what its layer takes and gives: [in] of the A, [out] of the B."""
        shape = self.tensors.shape
        return {weight: (shape(a)[1], shape(b)[0]) for weight, (a, b) in self.weights.items()}

    def delta(self, weight: str) -> torch.Tensor:
        """What it adds to a weight of the model, in float32."""
        a, b = (self.read(name).float() for name in self.weights[weight])
        product = (b @ a) * self.scale
        return product.T if self.transposed else product

    def reading(self, read: Callable[[str], torch.Tensor]) -> Adapter:
        """The same layers, with other A and B."""
        return replace(self, read=read)


@dataclass(frozen=True)
class Adapted:
    """A model's tensors with adapters merged in."""

    base: Tensors
    adapter: Adapter
    like: Tensors
    """A model in whose dtypes they are kept."""

    @classmethod
    def of(cls, base: Tensors, adapter: Adapter, like: Tensors | None = None) -> Adapted:
        """Kept in the base's dtypes unless told otherwise. Raises UserError where the adapters are another model's."""
        for weight, (inner, outer) in adapter.sizes.items():
            if weight not in base.names:
                raise UserError(f"the adapter adds to {weight}, which the base lacks", "name the base it was put on")
            wanted = (inner, outer) if adapter.transposed else (outer, inner)
            if base.shape(weight) != wanted:
                raise UserError(
                    f"the adapter adds {list(wanted)} to {weight}, which is {list(base.shape(weight))} in the base",
                    "name the base it was put on",
                )
        return cls(base, adapter, like or base)

    @property
    def names(self) -> frozenset[str]:
        """Those of the model."""
        return self.base.names

    def shape(self, name: str) -> tuple[int, ...]:
        """That of the model."""
        return self.base.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """That which it is kept in."""
        return self.like.dtype(name)

    def read(self, name: str) -> torch.Tensor:
        """`W + scale B A`, added in float32."""
        tensor = self.base.read(name)
        if name in self.adapter.weights:
            tensor = tensor.float().add_(self.adapter.delta(name))
        return tensor.to(self.dtype(name))


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds adapters alone."""
    return (folder / ADAPTER_CONFIG).is_file()


def check_alike(first: tuple[str, Adapter], other: tuple[str, Adapter]) -> None:
    """Raise UserError unless two adapters can be combined factor by factor."""
    (one, mine), (two, theirs) = first, other
    differing: list[Any] = [
        what
        for what, here, there in (
            ("layers", mine.weights, theirs.weights),
            ("rank", mine.rank, theirs.rank),
            ("scale", mine.scale, theirs.scale),
            ("size", mine.sizes, theirs.sizes),
            ("orientation", mine.transposed, theirs.transposed),
        )
        if here != there
    ]
    if differing:
        raise UserError(
            f"the adapters of {one} and {two} differ in {' and '.join(differing)}",
            "merge whole weights instead of adapters apart",
        )
