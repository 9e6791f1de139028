"""What makes a step cheaper and leaves what it computes: activations recomputed, layers compiled, kernels fused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_layers import GradientCheckpointingLayer

from harness.canonical import Json
from harness.errors import UserError
from harness.execution import Execution
from harness.train import liger
from harness.train.attention import ATTENTION, segment_attention

_EAGER = "--set train.compile=false"


def check(execution: Execution) -> None:
    """Refuse, before any weights are read, what cannot be done here; UserError with the remedy."""
    if execution.liger:
        liger.check()
    if not execution.compile:
        return
    if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        raise UserError("train.compile is on, and TORCHDYNAMO_DISABLE=1 switches it off", f"unset it, or {_EAGER}")
    # Inductor writes C++ for a CPU; for a GPU, Triton compiles the C that starts its kernels.
    compiler = os.environ.get("CC", "gcc") if torch.cuda.is_available() else os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(f"train.compile needs a compiler, and there is no {compiler}", f"install one, or {_EAGER}")


@contextmanager
def accelerated(network: Any, execution: Execution) -> Iterator[None]:
    """Train a transformers causal language model so; parameters keep their names, and the process its state.

    Raises UserError for an architecture that cannot be trained so.
    """
    with ExitStack() as undo:
        if execution.liger:
            undo.enter_context(liger.fused_layers(network))
        if execution.gradient_checkpointing:
            _recompute(network)
        if execution.compile:
            undo.enter_context(_compiled(network))
        yield


def record(execution: Execution) -> Json:
    """What was used, for the job's `measured`."""
    return {
        "gradient_checkpointing": execution.gradient_checkpointing,
        "compile": execution.compile,
        "liger": liger.installed() if execution.liger else None,
    }


def _recompute(network: Any) -> None:
    """Keep a layer's input alone, and compute the rest again in the backward pass, random states restored."""
    try:
        network.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": True})
    except ValueError as error:
        raise UserError(
            f"{type(network).__name__} cannot compute its activations again",
            "--set train.gradient_checkpointing=false",
        ) from error


@contextmanager
def _compiled(network: Any) -> Iterator[None]:
    """Compile the decoder's layers, each once for rows of all lengths.

    In place, so that names stay. The attention stays out of the graphs: its calls follow the lengths of the packed
    examples, and every new packing would be compiled anew.
    """
    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(f"{type(network).__name__} has no layers that could be compiled one by one", _EAGER)
    # Above frozen embeddings the first layer alone would see inputs without a gradient: another kind of graph.
    network.enable_input_require_grads()
    AttentionInterface.register(ATTENTION, torch.compiler.disable(segment_attention))  # type: ignore[no-untyped-call]
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None  # noqa: SLF001 -- torch offers no way back
        AttentionInterface.register(ATTENTION, segment_attention)
        torch.compiler.reset()
