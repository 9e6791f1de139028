"""What a stage does to the process it runs in: settings made, kept apart, and put back."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_ACCELERATE = "ACCELERATE_"
"""Begins the variables of whoever uses accelerate by hand: they would decide the precision over the recipe's head."""


@contextmanager
def isolated(threads: int | None) -> Iterator[None]:
    """Run a stage deterministically and leave no trace: threads, random states, verbosity, what accelerate keeps."""
    from accelerate.state import AcceleratorState, GradientState
    from transformers.utils import logging

    before_threads, verbosity = torch.get_num_threads(), logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    environment = _without_accelerate()
    try:
        if threads:
            torch.set_num_threads(threads)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.use_deterministic_algorithms(mode=True, warn_only=torch.cuda.is_available())
        memory.fill_uninitialized_memory = False
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        yield
    finally:
        torch.set_num_threads(before_threads)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 -- the legacy state is the one that trainers seed
        torch.set_rng_state(torch_state)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        memory.fill_uninitialized_memory = filling
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 -- accelerate offers no public way
        GradientState._reset_state()  # noqa: SLF001
        _without_accelerate()
        os.environ.update(environment)


def _without_accelerate() -> dict[str, str]:
    """Take accelerate's variables out of the environment; returns them."""
    return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_ACCELERATE)}


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point: of the GPU's allocator for this stage, or of this whole process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
