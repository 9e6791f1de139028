"""DeepSpeed configurations: those that ship, one's own, and what is wrong with one, told without DeepSpeed."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from harness.canonical import Json, digest
from harness.errors import UserError

SHIPPED = ("zero0", "zero1", "zero2", "zero3", "zero3_offload")
"""Names of the configurations in `ds_configs/`."""

DIVIDES = ("round_robin_gradients", "sub_group_size", "zero_hpz_partition_size", "mics_shard_size")
"""Of `zero_optimization`. DeepSpeed reads a checkpoint into another order of parameters without noticing."""

GATHER = "stage3_gather_16bit_weights_on_model_save"
_STAGES = range(4)
_OURS = {
    "optimizer": "the recipe's AdamW would be replaced by it",
    "scheduler": "the recipe's schedule would be replaced by it",
    "fp16": "the recipe's dtype would be replaced by it",
    "amp": "the recipe's dtype would be replaced by it",
    "bfloat16": "the recipe's dtype would be replaced by it",
    "torch_autocast": "the recipe's dtype would be replaced by it",
    "tensor_parallel": "the processes of a stage share its data, not its layers",
    "sequence_parallel_size": "the processes of a stage share its examples, not their tokens",
    "gradient_allreduce_op": "gradients are averaged, for the loss is made to be",
    "data_efficiency": "the recipe's data and their order would be replaced by it",
    "curriculum_learning": "the recipe's data and their order would be replaced by it",
    "progressive_layer_drop": "the model would be trained without some of its layers",
    "compression_training": "another model would be trained",
    "weight_quantization": "another model would be trained",
}
_COARSER = ("zero_quantized_weights", "zero_quantized_nontrainable_weights", "zero_quantized_gradients")
"""Of `zero_optimization`: what processes send each other is cut to a few bits."""
_OBJECTS = {
    "bf16": '{"enabled": "auto"}',
    "data_types": '{"grad_accum_dtype": "fp32"}',
    "zero_optimization": '{"stage": 2}',
}
_PRECISION = ("enabled", "bf16_master_weights_and_grads", "bf16_optimizer_states")
_FILLED = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
"""Keys that the recipe decides."""


@dataclass(frozen=True)
class Sharding:
    """What of a DeepSpeed configuration memory and correctness depend on."""

    name: str
    stage: int
    offloads_optimizer: bool = False
    offloads_parameters: bool = False
    config: Mapping[str, Json] = field(default_factory=dict, repr=False)

    @property
    def shards_parameters(self) -> bool:
        """Whether no process holds whole weights."""
        return self.stage == _STAGES[-1]

    @property
    def keeps_master_weights(self) -> bool:
        """Whether DeepSpeed steps on float32 weights of its own, beside those that are computed with."""
        return self.stage > 0

    @property
    def digest(self) -> str:
        """Of what the file says."""
        return digest(self.config)

    @property
    def division(self) -> str:
        """Digest of what decides which part of the optimiser's state lies where in a checkpoint's files."""
        zero = self.config.get("zero_optimization", {})
        return digest({key: zero[key] for key in DIVIDES if key in zero})

    def filled(self) -> dict[str, Json]:
        """A copy for DeepSpeed in which everything that the recipe decides is "auto", for transformers to fill in."""
        config: dict[str, Json] = copy.deepcopy(dict(self.config))
        config |= dict.fromkeys(_FILLED, "auto")
        config["bf16"] = {**config.get("bf16", {}), "enabled": "auto"}
        # DeepSpeed's own choice is the model's precision, which loses small micro-batches among many.
        config["data_types"] = {"grad_accum_dtype": "fp32", **config.get("data_types", {})}
        config.setdefault("zero_optimization", {"stage": 0})
        return config


def read_sharding(name: str) -> Sharding:
    """The configuration of a shipped name or of a JSON file.

    Raises UserError where there is none, or it cannot be trained with as it stands; see `problems`.
    """
    config = configuration(name)
    found = problems(name, config)
    if found:
        raise found[0]
    zero = config.get("zero_optimization", {})
    return Sharding(
        name,
        int(zero.get("stage", 0)),
        offloads_optimizer=_offloads(zero, "optimizer"),
        offloads_parameters=_offloads(zero, "param"),
        config=config,
    )


def faults(name: str) -> list[UserError]:
    """Everything that `read_sharding` could raise of the name, at once."""
    try:
        return problems(name, configuration(name))
    except UserError as error:
        return [error]


def problems(name: str, config: Mapping[str, Json]) -> list[UserError]:
    """Everything in a configuration that would change results, or lose the trained model."""
    found = [
        UserError(f"{name} holds a section {section!r}: {why}", "take it out; train.* of the recipe says this")
        for section, why in _OURS.items()
        if section in config
    ]
    for section, right in _OBJECTS.items():
        if not isinstance(config.get(section, {}), Mapping):
            return [*found, UserError(f"{name}: {section} is not an object", f"write {right}")]
    fixed = {key: config[key] for key in _FILLED if key in config}
    fixed |= {f"bf16.{key}": value for key, value in config.get("bf16", {}).items() if key in _PRECISION}
    found += [
        UserError(f"{name} sets {key} to {value!r}, which the recipe decides", 'write "auto", or leave it out')
        for key, value in fixed.items()
        if value != "auto"
    ]
    zero = config.get("zero_optimization", {})
    for what in ("optimizer", "param"):
        if not isinstance(zero.get(f"offload_{what}") or {}, Mapping):
            return [*found, UserError(f"{name}: offload_{what} is not an object", 'write {"device": "cpu"}')]
    found += [
        UserError(f"{name} sets zero_optimization.{key}: more than rounding would be lost", "take it out")
        for key in _COARSER
        if zero.get(key)
    ]
    stage = zero.get("stage", 0)
    if stage not in _STAGES or isinstance(stage, bool):
        found.append(UserError(f"{name}: there is no ZeRO stage {stage!r}", "use 0, 1, 2 or 3"))
    elif stage == _STAGES[-1] and zero.get(GATHER) is not True:
        # Without it the stage ends well and leaves no model.
        found.append(UserError(f"{name}: ZeRO-3 without {GATHER} saves no weights", "set it to true"))
    return found


def configuration(name: str) -> Mapping[str, Json]:
    """What a shipped configuration or a JSON file says. Raises UserError where there is none, or it is no object."""
    if name in SHIPPED:
        return dict(json.loads(files("harness.ds_configs").joinpath(f"{name}.json").read_text(encoding="utf-8")))
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"there is no DeepSpeed configuration {name!r}: {error.strerror}",
            f"use {', '.join(SHIPPED)} or the path of a JSON file",
        ) from None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name} is not JSON ({error})", "mend the file") from None
    if not isinstance(config, dict):
        raise UserError(f"{name} is not a DeepSpeed configuration", "it must be a JSON object")
    return config


def _offloads(zero: Mapping[str, Json], what: str) -> bool:
    section = zero.get(f"offload_{what}") or {}
    return bool(section.get("device", "none") != "none")
