"""Low-rank adapters (LoRA, arXiv:2106.09685): put on a network before it is trained, merged when it is saved.

Merging never touches the network in training. The adapters are written in peft's format, and the model that the stage
leaves is the starting model, read again as it is on disk, with them merged in: so kept models cost no rounding, and
what was frozen in 4 bits (QLoRA, arXiv:2305.14314) leaves no trace in the result but through the adapters.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.jobs import LoraSettings, TrainSettings
from harness.train import network as networks
from harness.train.world import World

ALL_LINEAR = "all-linear"
ADAPTER = "adapter"
"""Folder beside `model/` that holds the adapters alone."""

_CONFIG = "adapter_config.json"


def storage(settings: TrainSettings, device: torch.device) -> Mapping[str, Any]:
    """How the weights are held in training, as arguments of `from_pretrained`.

    Trained weights are float32. Frozen ones need no more than the precision that is computed in, or 4 bits.
    """
    compute = getattr(torch, settings.dtype)
    if settings.lora is None:
        return {"dtype": torch.float32}
    if settings.lora.quantize == "none":
        return {"dtype": compute}
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.lora.quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return {"dtype": compute, "quantization_config": quantized, "device_map": {"": device}}


def attach(network: Any, lora: LoraSettings | None, seed: int) -> Any:
    """What the optimiser is given: the network itself, or frozen under float32 adapters drawn from `seed`.

    Raises UserError where a target names no linear layer.
    """
    if lora is None:
        return network
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    targets = _targets(network, lora.targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=all(isinstance(network.get_submodule(name), Conv1D) for name in targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(network, config)


def causal(tuned: Any) -> Any:
    """The transformers causal language model in what `attach` returned, whose layers hold the adapters."""
    return tuned.get_base_model() if _adapted(tuned) else tuned


def trainable(tuned: Any) -> int:
    """Numbers that training changes."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in tuned.parameters() if p.requires_grad)


def save(tuned: Any, start: Path, folder: Path, dtype: torch.dtype, world: World, *, sharded: bool = False) -> None:
    """Leave `folder/model`, complete, and `folder/adapter` where there are adapters.

    All processes call it, for weights may be `sharded`; the main one writes.
    """
    if not _adapted(tuned):
        networks.save(tuned, start, folder / "model", dtype, world, sharded=sharded)
        return
    from peft import PeftModel

    state = networks.gathered(tuned, world, frozen=False) if sharded else None
    if not world.main:
        return
    _write(tuned, folder / ADAPTER, state)
    with torch.random.fork_rng(devices=[]), networks.whole():  # peft draws adapters before it reads them
        merged = PeftModel.from_pretrained(networks.load(start, None), str(folder / ADAPTER)).merge_and_unload()
    networks.save(merged, start, folder / "model", dtype, world)


def _adapted(tuned: Any) -> bool:
    return hasattr(tuned, "get_base_model")


def _write(tuned: Any, target: Path, state: Mapping[str, torch.Tensor] | None) -> None:
    """The adapters in peft's format, equal for equal adapters: no path, no set in the order of its hashes."""
    written = target.with_name(f"{target.name}.writing")
    shutil.rmtree(written, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    tuned.save_pretrained(written, state_dict=state)
    (written / "README.md").unlink(missing_ok=True)
    config = json.loads((written / _CONFIG).read_text())
    config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
    (written / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    written.rename(target)


def _targets(network: Any, wanted: Iterable[str]) -> list[str]:
    """Full names of the linear layers that get adapters. The head cannot: the loss reads its weight as it is."""
    from transformers.pytorch_utils import Conv1D

    head = network.get_output_embeddings()
    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    chosen: set[str] = set()
    for target in wanted:
        found = [name for name in linear if target == ALL_LINEAR or f".{name}".endswith(f".{target}")]
        if not found:
            names = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise UserError(
                f"train.lora.targets: {type(network).__name__} has no linear layer {target!r} below its head",
                f"use {ALL_LINEAR}, or names among {names}",
            )
        chosen.update(found)
    return sorted(chosen)
