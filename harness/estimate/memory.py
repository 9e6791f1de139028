"""The memory that one process of a training stage needs at its highest point, part by part.

Weights, gradients and optimiser states follow from how they are held (ZeRO, arXiv:1910.02054). Activations are
counted tensor by tensor as autograd saves them in transformers' layers; docs/training.md has measurements beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from harness.estimate.shape import Shape, adapter_parameters, in_matrices
from harness.jobs import LoraSettings
from harness.sharding import Sharding

Device = Literal["cpu", "cuda"]

CHUNK_BYTES = 128 * 2**20
"""Logits in memory at a time, in float32; that of `harness.train.loss`."""

PROCESS_BYTES = {"cpu": 700 * 2**20, "cuda": 2**30}
"""What a process holds before there is a model: libraries on a CPU, the context and kernels on a GPU."""

_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in 4 bits: scales of blocks of 64, themselves quantised in blocks of 256 (arXiv:2305.14314)."""
_HEAP = 1.1
"""What a CPU's heap takes over what is in use: tensors come and go, and leave gaps."""
_PADDED = 4
"""Copies of queries, keys, values and outputs where segments of several lengths share one call of the attention."""
_BUCKET = 500_000_000
_LIVE = 1_000_000_000
"""DeepSpeed's own defaults: numbers reduced at a time, and numbers gathered at a time under ZeRO-3."""


@dataclass(frozen=True)
class Setup:
    """Everything about how a stage is trained that its memory depends on."""

    tokens: int
    """Of one micro-batch, at most."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Device = "cpu"
    world: int = 1
    """Processes that share the work."""
    accumulates: bool = True
    """Whether a step has several micro-batches, so that gradients are there while activations are."""
    checkpointing: bool = False
    lora: LoraSettings | None = None
    sharding: Sharding | None = None
    references: int = 0
    """Frozen models that the loss compares with."""

    @property
    def mixed(self) -> bool:
        """Whether float32 weights are computed with in bfloat16; ZeRO-1 to 3 and adapters have theirs in bfloat16."""
        by_deepspeed = self.sharding is not None and self.sharding.keeps_master_weights
        return self.dtype == "bfloat16" and not by_deepspeed and self.lora is None


@dataclass(frozen=True)
class Memory:
    """Bytes that one process needs, by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    workspace: float
    """Gradients of activations and of the head while they are computed, and communication."""
    process: float
    host: float = 0.0
    """Of the machine's memory, for what is offloaded from the device."""

    @property
    def device(self) -> float:
        """Bytes on the device."""
        return float(sum(getattr(self, field.name) for field in fields(self))) - self.host


def memory(shape: Shape, parameters: int, setup: Setup) -> Memory:
    """What a process needs at its highest point: where the backward pass begins, or where it ends."""
    held = _held(shape, parameters, setup)
    heap = _HEAP if setup.device == "cpu" else 1.0
    activations, logits = heap * _activations(shape, setup), heap * _logits(shape, setup)
    head = 4.0 * shape.vocabulary * shape.hidden * (0 if setup.lora else 1)
    passing = max(_backward(shape, setup), head)
    begins = (held.gradients if setup.accumulates else 0.0) + activations + logits
    ends = held.gradients + passing
    if begins >= ends:
        gradients = held.gradients if setup.accumulates else 0.0
        return replace(held, gradients=gradients, activations=activations, logits=logits)
    return replace(held, workspace=held.workspace + passing)


def _held(shape: Shape, parameters: int, setup: Setup) -> Memory:
    """What is there the whole time: weights, optimiser, and, once computed, gradients."""
    trained = adapter_parameters(shape, setup.lora.rank) if setup.lora else parameters
    base = _base_bytes(shape, parameters, setup)
    copies = 2.0 * in_matrices(shape) if setup.mixed else 0.0
    frozen = setup.references * 4.0 * parameters
    process = float(PROCESS_BYTES[setup.device])
    sharding, world = setup.sharding, setup.world
    if sharding is None:
        buckets = 4.0 * trained if world > 1 else 0.0  # those in which torch's DDP sums gradients
        return Memory(
            weights=base + (4.0 * trained if setup.lora else 0.0) + copies + frozen,
            gradients=4.0 * trained,
            optimizer=8.0 * trained,
            activations=0.0,
            logits=0.0,
            workspace=buckets,
            process=process,
        )
    width = 2.0 if setup.dtype == "bfloat16" and sharding.keeps_master_weights else 4.0
    zero = sharding.config.get("zero_optimization", {})
    weights = base if setup.lora else width * parameters + copies
    weights += width * trained if setup.lora else 0.0
    summed_in = sharding.config.get("data_types", {}).get("grad_accum_dtype")
    gradients = (4.0 if summed_in == "fp32" else width) * trained
    optimizer = (12.0 if sharding.keeps_master_weights else 8.0) * trained
    workspace = width * min(trained, _number(zero, "reduce_bucket_size", _BUCKET)) if world > 1 else 0.0
    if sharding.stage >= 1:
        optimizer /= world
    if sharding.stage >= 2:  # noqa: PLR2004 -- the stages' numbers are their names
        gradients /= world
    if sharding.stage >= 3:  # noqa: PLR2004
        workspace += width * min(parameters, _number(zero, "stage3_max_live_parameters", _LIVE))
        weights /= world
    host = 0.0
    if sharding.offloads_optimizer:
        host, optimizer, gradients = host + optimizer + 4.0 * gradients / width, 0.0, 0.0
    if sharding.offloads_parameters:
        host, weights = host + weights, 0.0
    return Memory(weights + frozen, gradients, optimizer, 0.0, 0.0, workspace, process, host)


def _base_bytes(shape: Shape, parameters: int, setup: Setup) -> float:
    """Of the model's own weights; those that are frozen need no more than the precision that is computed in."""
    width = 2.0 if setup.lora and setup.dtype == "bfloat16" else 4.0
    if setup.lora is None or setup.lora.quantize == "none":
        return width * parameters
    inside = in_matrices(shape)
    return _NF4_BYTES * inside + width * (parameters - inside)


def _number(section: dict[str, object], name: str, default: int) -> float:
    value = section.get(name, default)
    return float(value) if isinstance(value, int | float) else default


# --- what grows with the tokens ------------------------------------------------------------------------------------


def _activations(shape: Shape, setup: Setup) -> float:
    """What autograd keeps of the forward pass."""
    layer = _layer_bytes(shape, setup)
    width = 2.0 if setup.dtype == "bfloat16" and not setup.mixed else 4.0
    outside = (3 * width + 4) * shape.hidden  # the last normalisation, and the positions that are scored
    if setup.checkpointing:
        return setup.tokens * (shape.layers * width * shape.hidden + layer + outside)
    return setup.tokens * (shape.layers * layer + outside)


def _layer_bytes(shape: Shape, setup: Setup) -> float:
    """Bytes that a layer keeps of one token; the coefficients are counts of tensors that autograd saves."""
    family, hidden, keys, rows = shape.family, shape.hidden, shape.kv_width, shape.attention_width
    half = setup.dtype == "bfloat16"
    width = 2 if half else 4
    more = family.norms - 2
    if not half:
        norms = (16 if family.layer_norm else 24) * hidden + 8 * more * hidden
    elif setup.mixed:
        norms = (12 if family.layer_norm else 26) * hidden + 8 * more * hidden
    else:
        norms = (8 if family.layer_norm else 20) * hidden + 8 * more * hidden
    varlen = setup.device == "cuda" and half
    attention = width * (3 * rows + 2 * keys if varlen else (5 + _PADDED) * rows)
    of_heads = 0 if family.head_norms == "none" else 8 * (rows + keys)
    inner = (4 if family.gated else 5) * shape.intermediate * width
    if shape.experts > 1:
        inner = shape.experts_used * ((4 if family.gated else 5) * shape.intermediate * 4 + 9 * hidden)
    adapters = 0
    if setup.lora is not None:  # each adapter keeps what it computes, and its input where that is dropped out
        adapters = width * 2 * setup.lora.rank * sum(count for *_, count in shape.matrices)
    return norms + attention + of_heads + inner + adapters


def _logits(shape: Shape, setup: Setup) -> float:
    """A chunk's logits, their log-softmax and its gradient, in float32."""
    chunk = min(float(setup.tokens), max(1.0, CHUNK_BYTES // (4 * shape.vocabulary)))
    return chunk * shape.vocabulary * (12 if setup.dtype == "float32" else 14)


def _backward(shape: Shape, setup: Setup) -> float:
    """Gradients of one layer's activations."""
    width = 2 if setup.dtype == "bfloat16" else 4
    inner = 3 * shape.intermediate * shape.experts_used
    return setup.tokens * width * (max(inner, 5 * shape.attention_width) + 2.0 * shape.hidden)
