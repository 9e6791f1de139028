"""Loading a model for packed training, making sure that it can be trained so, and saving it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.api import Part
from harness.errors import UserError
from harness.modelfolder import CONFIG, copy_companions, trusts_code, weight_files
from harness.train.attention import ATTENTION
from harness.train.loss import CausalModel, Head
from harness.train.packed import PackedBatch
from harness.train.world import World

_TOLERANCE = 1e-3
"""Largest difference of probe logits, relative to the largest logit; what is wrong is wrong by far more."""

_ROUNDINGS = 8
"""As many roundings of weights held in bfloat16 are tolerated."""

_PROBED_LAYERS = 4
_PROBED_VOCABULARY = 512
"""Of the small model that stands for one whose weights lie in shards."""


def load(folder: Path, **storage: Any) -> Any:
    """The causal language model of a prepared model's folder, with segment attention; in float32 unless told otherwise.

    `storage` are arguments of `from_pretrained` that say how the weights are held.

    Raises UserError where weights are missing from the files, or the architecture has no causal language model.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    weight_files(folder)
    try:
        network, report = AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation=ATTENTION,
            trust_remote_code=trusts_code(folder),
            local_files_only=True,
            output_loading_info=True,
            **{"dtype": torch.float32, **storage},
        )
    except KeyError as error:  # some architectures keep a list of their own attentions
        raise UserError(f"{folder} cannot be trained: it has no attention {error}", "choose another model") from error
    except ValueError as error:
        raise UserError(f"{folder} cannot be trained: {_first_line(error)}", "choose another model") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more", "use a whole model")
    # The settings of generation travel as a file; some hub models hold ones that transformers refuses to save.
    network.generation_config = GenerationConfig.from_model_config(network.config)
    return network


def frozen(folder: Path, device: torch.device) -> Any:
    """A reference model: never trained, never in training mode, and whole on every rank."""
    with whole():
        return load(folder).requires_grad_(requires_grad=False).eval().to(device)


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


def check_architecture(folder: Path) -> None:
    """`check_packing` of a small model made from a prepared model's config, for weights that will lie in shards."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts_code(folder), local_files_only=True)
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds:
        text.layer_types = list(dict.fromkeys(kinds))
    text.num_hidden_layers = len(text.layer_types) if kinds else min(text.num_hidden_layers, _PROBED_LAYERS)
    text.vocab_size = min(text.vocab_size, _PROBED_VOCABULARY)
    for special in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(text, special, None)
    before = torch.get_rng_state()
    network = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=ATTENTION, trust_remote_code=trusts_code(folder)
    )
    torch.set_rng_state(before)
    check_packing(network)


def check_packing(network: Any) -> Head:
    """The model's head, once two packed examples give the logits that each gives alone through the model's own head.

    Raises UserError naming an architecture that mixes tokens in other ways than attention, does not restart positions,
    or makes its logits in a way not known here.
    """
    name = type(network).__name__
    head, training = Head.of(network), network.training
    parts = np.full(4, Part.RESPONSE, np.uint8)
    first, second = (np.arange(4, dtype=np.int32) * step % head.vocabulary for step in (3, 5))
    packed, alone = (
        PackedBatch.of(rows, [parts] * len(rows)).to(network.device) for rows in ([first, second], [second])
    )
    embedded: list[torch.Tensor] = []
    hook = network.get_input_embeddings().register_forward_hook(lambda _module, _inputs, out: embedded.append(out))
    network.eval()
    try:
        ours = CausalModel(network, head).logits(packed)[0, 5:]
        # Under small random weights a convolution, say, mixes too faintly to be seen in the logits.
        (influence,) = torch.autograd.grad(ours.square().sum(), embedded)
        # With gradients too: on a CPU, bitsandbytes turns 4-bit weights for good into a form that has none where it
        # sees that none are wanted.
        own = network(
            input_ids=alone.input_ids, position_ids=alone.position_ids, segments=alone.layout, use_cache=False
        ).logits.detach()[0, :-1]
    except TypeError as error:
        raise UserError(f"{name} cannot be trained packed: {_first_line(error)}", "choose another model") from error
    finally:
        hook.remove()
        network.train(training)
    if influence[0, :4].any():
        raise UserError(f"{name} lets packed examples influence each other", "choose another model")
    tolerance = max(_TOLERANCE, _ROUNDINGS * torch.finfo(head.linear.weight.dtype).eps)
    if not torch.allclose(ours, own.float(), rtol=0.0, atol=tolerance * float(own.abs().max())):
        raise UserError(f"{name} gives other logits packed than alone", "choose another model")
    return head


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
