"""How a run's work is done on one machine: the recipe's `runtime`, of which nothing enters a key."""

from __future__ import annotations

import pydantic

from harness.endpoints.model import EndpointManner
from harness.jobs import Declaration


class Runtime(Declaration):
    """How the work is done on this machine; nothing here enters a key."""

    workers: int = pydantic.Field(1, ge=1)
    """Jobs that run side by side; on a machine with GPUs `gpus_per_job` may say more."""
    gpus_per_job: int | None = pydantic.Field(None, ge=1)
    """GPUs of each job; so many jobs run side by side as the machine has GPUs for. None: all GPUs for stages that are
    launched, else one."""
    threads: int | None = pydantic.Field(None, ge=1)
    """CPU threads of each worker; None shares the cores out."""
    micro_tokens: int = pydantic.Field(8192, ge=8)
    """Tokens packed into one forward pass."""
    checkpoint_seconds: float = pydantic.Field(60.0, ge=0)
    """Time between two training checkpoints: what a crash can cost."""
    start_timeout: float = pydantic.Field(300.0, gt=0)
    """Seconds that the ranks of a launched stage have to start."""
    collective_timeout: float = pydantic.Field(7200.0, gt=0)
    """Seconds that a rank waits for the others: one of them may be reading data or sealing a large checkpoint."""
    stop_on_divergence: bool = True
    """Stop a stage whose loss diverges; one that is not finite always stops it."""
    restart_stage: bool = False
    """Begin interrupted stages anew instead of going on from their checkpoints; their rows say so."""
    gpu_memory_utilization: float = pydantic.Field(0.9, gt=0, le=1)
    unsafe_code: bool = False
    """Run generated programs with this user's rights where nothing on the machine shuts them in; rows say so."""
    tensor_parallel: int = pydantic.Field(1, ge=1)
    """GPUs that each vLLM engine is spread over; more than one allows no swapping of weights."""
    cpu_cache_gib: float = pydantic.Field(1.0, gt=0)
    """vLLM's key-value cache on CPU."""
    batch_size: int = pydantic.Field(64, ge=1)
    """Requests that the hf engine answers at once."""
    endpoint: EndpointManner = EndpointManner()
    """How the endpoint engine asks a server."""
