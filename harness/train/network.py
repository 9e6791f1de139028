"""Loading a model for packed training, making sure that it can be trained so, and saving it."""

from __future__ import annotations

import json
import shutil
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

_TOLERANCE = 1e-3
"""Largest difference of probe logits, relative to the largest logit; what is wrong is wrong by far more."""

_ROUNDINGS = 8
"""As many roundings of weights held in bfloat16 are tolerated."""


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
    """A reference model: never trained, never in training mode."""
    return load(folder).requires_grad_(requires_grad=False).eval().to(device)


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


def save(network: Any, start: Path, target: Path, dtype: torch.dtype) -> None:
    """Weights and config in `target`, with the tokenizer, template and settings that stand in `start`.

    Written beside the target and renamed, so that the target is whole or absent.
    """
    written = target.with_name(f"{target.name}.writing")
    shutil.rmtree(written, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    written.mkdir(parents=True)
    state = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    # What is tied must stay one tensor, or it is written twice.
    state |= {copy: state[source] for copy, source in network.all_tied_weights_keys.items()}
    network.save_pretrained(written, state_dict=state)
    config = json.loads((written / CONFIG).read_text())
    # Written from the parameters in memory, which stay in float32.
    (written / CONFIG).write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}, indent=2) + "\n")
    copy_companions(start, written)
    written.rename(target)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
