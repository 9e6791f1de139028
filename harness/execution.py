"""How a stage is trained on the machines at hand: processes, sharding, memory and layout.

None of it enters a key, for none of it changes what is computed beyond rounding; that is held by the exactness tests.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from harness.jobs import Declaration

Launcher = Literal["none", "torchrun", "deepspeed", "accelerate"]
Layout = Literal["packed", "grouped", "padded"]
Tracker = Literal["auto", "tensorboard", "wandb", "trackio", "none"]


class Execution(Declaration):
    """How training is done; the same for every stage of a run."""

    launcher: Launcher = "none"
    """What starts a stage's processes; `none` trains in the worker itself, on one device."""
    processes: int = pydantic.Field(1, ge=1)
    """Processes on each node, one a GPU."""
    nodes: int = pydantic.Field(1, ge=1)
    rendezvous: str | None = None
    """`HOST:PORT` of the first node, where several nodes meet."""
    hostfile: str | None = None
    """The nodes and their slots, for the deepspeed launcher."""
    deepspeed: str | None = None
    """A configuration of `ds_configs/` (`zero0` to `zero3`, `zero3_offload`) or the path of one's own JSON."""
    layout: Layout = "packed"
    """`packed`: examples stand one after the other in rows; `grouped`: rows of similar lengths, padded; `padded`: rows
    in the order of the data, padded."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    compile: bool = False
    """Compile the layers with torch.compile."""
    liger: bool = False
    """Use Liger's fused kernels (GPU)."""
    tracking: Tracker = "auto"
    """Where the training curves go besides `metrics.jsonl`; `auto` is TensorBoard, where it is installed."""
    peak_tflops: float | None = pydantic.Field(None, gt=0)
    """Peak of one device, for the MFU; None takes the datasheet's of a GPU that is known."""

    def manner(self) -> dict[str, object]:
        """What of it the speed of a stage depends on, for its manifest."""
        return self.model_dump(
            mode="json",
            include={"processes", "nodes", "deepspeed", "layout", "gradient_checkpointing", "compile", "liger"},
        )

    @property
    def world_size(self) -> int:
        """Processes of all nodes."""
        return self.processes * self.nodes

    @pydantic.model_validator(mode="after")
    def _launchable(self) -> Execution:
        if self.launcher == "none" and self.world_size > 1:
            raise ValueError(f"{self.world_size} processes need a launcher: set train.launcher to torchrun")
        if self.launcher == "none" and self.deepspeed is not None:
            raise ValueError("DeepSpeed needs processes of its own: set train.launcher to torchrun or deepspeed")
        if self.hostfile is not None and self.launcher != "deepspeed":
            raise ValueError("a hostfile is read by the deepspeed launcher alone: set train.launcher to deepspeed")
        return self
