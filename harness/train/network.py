"""Loading a model for training, and saving it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.modelfolder import CONFIG, copy_companions, trusts_code, weight_files
from harness.train.attention import ATTENTION
from harness.train.world import World


def load(folder: Path, attention: str | None = ATTENTION, **storage: Any) -> Any:
    """The causal language model of a prepared model's folder; in float32 unless told otherwise.

    `attention` is transformers' name of one, or None to leave the choice to it; `storage` are arguments of
    `from_pretrained` that say how the weights are held.
    Raises UserError where weights are missing from the files, or the architecture has no causal language model.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    weight_files(folder)
    try:
        network, report = AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation=attention,
            trust_remote_code=trusts_code(folder),
            local_files_only=True,
            output_loading_info=True,
            **{"dtype": torch.float32, **storage},
        )
    except KeyError as error:  # some architectures keep a list of their own attentions
        raise UserError(f"{folder} has no attention {error}", "--set train.layout=grouped") from error
    except ValueError as error:
        remedy = "--set train.layout=grouped" if "attn_implementation" in str(error) else "choose another model"
        raise UserError(f"{folder} cannot be trained: {_first_line(error)}", remedy) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more", "use a whole model")
    # The settings of generation travel as a file; some hub models hold ones that transformers refuses to save.
    network.generation_config = GenerationConfig.from_model_config(network.config)
    return network


def frozen(folder: Path, device: torch.device, attention: str | None = ATTENTION) -> Any:
    """A reference model: never trained, never in training mode, and whole on every rank."""
    with whole():
        return load(folder, attention).requires_grad_(requires_grad=False).eval().to(device)


@contextmanager
def whole() -> Iterator[None]:
    """Under ZeRO-3 transformers shards all that it loads: not so in here."""
    from transformers.integrations import deepspeed as sharding

    reference = sharding._hf_deepspeed_config_weak_ref  # noqa: SLF001 -- what is set can be set, but not read
    sharding.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        config = reference() if reference is not None else None
        if config is not None:
            sharding.set_hf_deepspeed_config(config)


def save(network: Any, start: Path, target: Path, dtype: torch.dtype, world: World, *, sharded: bool = False) -> None:
    """Weights and config in `target`, with the tokenizer, template and settings that stand in `start`.

    Written by the main process, beside the target and renamed, so that the target is whole or absent. All processes
    call it: where weights are sharded they are gathered, a module at a time.
    """
    state = gathered(network, world) if sharded else network.state_dict()
    if not world.main:
        return
    written = target.with_name(f"{target.name}.writing")
    shutil.rmtree(written, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    written.mkdir(parents=True)
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    # What is tied must stay one tensor, or it is written twice.
    state |= {copy: state[source] for copy, source in network.all_tied_weights_keys.items()}
    network.save_pretrained(written, state_dict=state)
    config = json.loads((written / CONFIG).read_text())
    # Written from the parameters in memory, which stay in float32.
    (written / CONFIG).write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}, indent=2) + "\n")
    copy_companions(start, written)
    written.rename(target)


def gathered(network: Any, world: World, *, frozen: bool = True) -> dict[str, torch.Tensor]:
    """The state dict of a network in shards, in the main process's own memory; empty in the others.

    All processes call it. Without `frozen`, what is not trained is left out.
    """
    import deepspeed

    state: dict[str, torch.Tensor] = {}
    for prefix, module in network.named_modules():
        named = module.named_parameters(prefix, recurse=False)
        parameters = {name: parameter for name, parameter in named if frozen or parameter.requires_grad}
        with deepspeed.zero.GatheredParameters(list(parameters.values())):
            if world.main:
                state |= {name: part.detach().to("cpu", copy=True) for name, part in parameters.items()}
    if not (world.main and frozen):
        return state
    buffers = {name: tensor for name, tensor in network.state_dict().items() if name not in state}
    return state | buffers


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
