"""What each layout asks of a network: the attention it is loaded with, and the proof that examples stay apart in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.api import Part
from harness.errors import UserError
from harness.execution import Layout
from harness.modelfolder import trusts_code
from harness.train.attention import ATTENTION, FEATURES, kernel
from harness.train.loss import CausalModel, Head
from harness.train.microbatch import MicroBatch

FLASH = "flash_attention_2"

_TOLERANCE = 1e-3
"""Largest difference of probe logits, relative to the largest logit; what is wrong is wrong by far more."""

_PROBED_LAYERS = 4
_PROBED_VOCABULARY = 512
"""Of the small model that stands for one whose weights lie in shards."""

_ROUNDINGS = 8
"""As many roundings of weights held in bfloat16 are tolerated."""


def attention_for(folder: Path, layout: Layout, device: torch.device, dtype: torch.dtype) -> str | None:
    """The attention to load a model with: segments where packed, else the fastest of its own that computes all of it.

    None leaves the choice to transformers: torch's where the architecture has it, else what its authors wrote out.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if layout == "packed":
        return ATTENTION
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts_code(folder), local_files_only=True)
    kind = AutoModelForCausalLM._model_mapping.get(type(config), None)  # noqa: SLF001 -- nothing public tells
    known = getattr(kind, "_compatible_flash_implementations", None)
    flash = getattr(kind, "_supports_flash_attn", False) and (known is None or FLASH in known)
    if flash and find_spec("flash_attn") and device.type == "cuda" and dtype == torch.bfloat16:
        return FLASH
    # transformers' way to torch's attention passes over soft-capping in silence.
    return "eager" if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None else None


def attention_name(network: Any, layout: Layout, device: torch.device, dtype: torch.dtype) -> str:
    """What computes the network's attention; `none` where it has none."""
    if layout == "packed":
        return kernel(device, dtype)
    if not any("attention" in type(module).__name__.lower() for module in network.modules()):
        return "none"
    return str(network.config.get_text_config()._attn_implementation)  # noqa: SLF001 -- nothing public tells


def check(network: Any, layout: Layout) -> Head:
    """The network's head, once two examples laid out together give the logits that each gives alone through it.

    Raises UserError naming an architecture that lets examples or padding influence one another, does not restart
    positions, or makes its logits in a way not known here.
    """
    name, padded = type(network).__name__, layout != "packed"
    how = "padded" if padded else "packed"
    remedy = "choose another model" if padded else "--set train.layout=grouped"
    head, training = Head.of(network), network.training
    first, second = (np.arange(n, dtype=np.int32) * step % head.vocabulary for n, step in ((6, 3), (4, 5)))
    together, alone = (
        MicroBatch.of(rows, [np.full(len(row), Part.RESPONSE, np.uint8) for row in rows], padded=padded)
        for rows in ([first, second], [second])
    )
    together, alone = together.to(network.device), alone.to(network.device)
    flash = network.config.get_text_config()._attn_implementation == FLASH  # noqa: SLF001 -- nothing public tells
    computed = torch.bfloat16 if flash else head.linear.weight.dtype
    embedded: list[torch.Tensor] = []
    hook = network.get_input_embeddings().register_forward_hook(lambda _module, _inputs, out: embedded.append(out))
    network.eval()
    try:
        with (
            _nothing_passed_over(name) if padded else nullcontext(),
            torch.autocast("cuda", computed, enabled=flash),  # flash-attention takes nothing wider
        ):
            ours = CausalModel(network, head).logits(together)[0, 7:10]
            # Under small random weights a convolution, say, mixes too faintly to be seen in the logits.
            (influence,) = torch.autograd.grad(ours.square().sum(), embedded)
            # With gradients too: on a CPU, bitsandbytes turns 4-bit weights for good into a form that has none where it
            # sees that none are wanted.
            own = network(**alone.inputs, use_cache=False).logits.detach()[0, :-1]
    except TypeError as error:
        raise UserError(f"{name} cannot be trained {how}: {str(error).partition(chr(10))[0]}", remedy) from error
    finally:
        hook.remove()
        network.train(training)
    others = together.segments[0] != 1
    if influence.flatten(0, 1)[others].any():
        raise UserError(f"{name} lets {how} examples influence each other", remedy)
    tolerance = max(_TOLERANCE, _ROUNDINGS * torch.finfo(computed).eps)
    if not torch.allclose(ours, own.float(), rtol=0.0, atol=tolerance * float(own.abs().max())):
        raise UserError(f"{name} gives other logits {how} than alone", remedy)
    return head


def check_architecture(folder: Path, layout: Layout) -> None:
    """`check` of a small model made from a prepared model's config, for weights that will lie in shards."""
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
    attention = attention_for(folder, layout, torch.device("cpu"), torch.float32)
    before = torch.get_rng_state()
    network = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=attention, trust_remote_code=trusts_code(folder)
    )
    torch.set_rng_state(before)
    check(network, layout)


@contextmanager
def _nothing_passed_over(name: str) -> Iterator[None]:
    """Refuse what a layer asks of transformers' way to torch's attention, and that leaves out."""
    original = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def strict(*tensors: Any, **asked: Any) -> Any:
        for feature in FEATURES:
            if asked.get(feature) is not None:
                raise UserError(
                    f"{name} uses {feature}, which torch's attention does not compute", "choose another model"
                )
        return original(*tensors, **asked)

    ALL_ATTENTION_FUNCTIONS["sdpa"] = strict
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]
