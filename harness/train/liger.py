"""Liger's fused kernels (arXiv:2410.10989): norms, rotary embeddings, SwiGLU, and the head with its cross-entropy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from packaging.version import Version

from harness.api import Part
from harness.errors import UserError
from harness.train.attention import ATTENTION
from harness.train.microbatch import MicroBatch

if TYPE_CHECKING:
    from harness.train.loss import Head

_SINCE = Version("0.8.5")
"""Before it, the head's gradients were wrong where tokens weigh differently."""

_TOLERANCE = 5e-2
"""Largest difference of probe logits, relative to the largest; another activation is further off by far."""

_PROBED = 16
"""Tokens."""

_OFF = "--set train.liger=false"


def check() -> None:
    """Refuse, before any weights are read, machines on which Liger cannot compute what it should."""
    if Version(installed()) < _SINCE:
        raise UserError(
            f"liger-kernel {installed()} computes wrong gradients where tokens weigh differently",
            f"pip install 'liger-kernel>={_SINCE}'",
        )
    if not torch.cuda.is_available():
        raise UserError("train.liger needs a GPU, for which its kernels are compiled", _OFF)


def installed() -> str:
    """The version of Liger."""
    return version("liger-kernel")


@contextmanager
def fused_layers(network: Any) -> Iterator[None]:
    """Let the layers of a transformers model compute with Liger's kernels, and leave transformers as it was.

    Raises UserError for architectures that Liger does not know, or computes differently: it swaps code by the
    architecture's name, whatever activation its configuration asks for.
    """
    from liger_kernel.transformers import monkey_patch

    name = type(network).__name__
    if network.config.model_type not in monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise UserError(f"Liger has no kernels for {name}", _OFF)
    code = vars(sys.modules[type(network).__module__])
    before, wanted = dict(code), _probe(network)
    try:
        monkey_patch._apply_liger_kernel_to_instance(  # noqa: SLF001 -- the way of transformers' own Trainer
            network, cross_entropy=False, fused_linear_cross_entropy=False
        )
        found = _probe(network)
        if not torch.allclose(found, wanted, rtol=0.0, atol=_TOLERANCE * float(wanted.abs().max())):
            raise UserError(f"Liger's kernels compute {name} differently than transformers", _OFF)
        yield
    finally:
        code.update(before)


def token_losses(
    head: Head, hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy of each position without its logits in memory: [tokens, width], [tokens] -> [tokens], float32."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    losses: torch.Tensor = liger_fused_linear_cross_entropy(
        hidden * head.scale,
        weight,
        targets,
        bias=None if bias is None else bias * head.scale,
        softcap=head.softcap,
        reduction="none",
        accum_dtype=torch.float32,
    )
    return losses


@torch.no_grad()
def _probe(network: Any) -> torch.Tensor:
    """Logits of a few tokens, float32."""
    ids = np.arange(_PROBED, dtype=np.int32) % network.get_input_embeddings().num_embeddings
    attention = network.config.get_text_config()._attn_implementation  # noqa: SLF001 -- nothing public tells
    parts = np.full(_PROBED, Part.RESPONSE, np.uint8)
    batch = MicroBatch.of([ids], [parts], padded=attention != ATTENTION).to(network.device)
    training = network.training
    try:
        # In bfloat16, which is all that flash-attention takes.
        with torch.autocast(network.device.type, torch.bfloat16):
            logits: torch.Tensor = network.eval()(**batch.inputs, use_cache=False).logits.float()
    finally:
        network.train(training)
    return logits
