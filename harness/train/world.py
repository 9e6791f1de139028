"""The processes that train one stage together."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from harness.execution import Execution

Agreed = TypeVar("Agreed")

PATIENCE = 7200.0
"""Seconds that a process waits for the others: one of them may be reading data or sealing a large checkpoint."""


@dataclass(frozen=True)
class World:
    """This process's place among those of its launch; alone where nothing was launched."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    launched: bool = False
    """Whether a launcher started the processes, of which there may be one."""

    @classmethod
    def of(cls, execution: Execution) -> World:
        """Read from RANK, LOCAL_RANK and WORLD_SIZE, which every launcher sets."""
        if execution.launcher == "none":
            return cls()
        rank, local_rank, size = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
        return cls(rank, local_rank, size, launched=True)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    @contextmanager
    def joined(self, patience: float = PATIENCE) -> Iterator[None]:
        """The process group, from the first use of it to the last.

        A process that fails leaves it standing: the others may wait for something that will not come, and the launcher
        ends them.
        """
        if not self.launched:
            yield
            return
        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(seconds=patience))
        with warnings.catch_warnings():
            # DeepSpeed calls torch by names that newer versions give up, at every step.
            warnings.filterwarnings("ignore", r"`torch\.distributed\..*` is deprecated", FutureWarning)
            yield
        self.barrier()
        dist.destroy_process_group()

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()

    def agreed(self, value: Agreed) -> Agreed:
        """What the main process has, on all; any value that can be pickled."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def decided(self, yes: bool) -> bool:
        """The main process's answer, on all; cheap enough for every step."""
        if self.size == 1:
            return yes
        answer = torch.tensor([yes], dtype=torch.int32, device="cuda" if torch.cuda.is_available() else "cpu")
        dist.broadcast(answer, src=0)
        return bool(answer.item())

    def highest(self, number: float) -> float:
        """The largest of all processes' numbers."""
        return max(self._all(number))

    def mean(self, number: float) -> float:
        """The mean of all processes' numbers, equal to the last bit on all of them."""
        return math.fsum(self._all(number)) / self.size

    def _all(self, number: float) -> list[float]:
        if self.size == 1:
            return [number]
        numbers: list[float] = [0.0] * self.size
        dist.all_gather_object(numbers, number)
        return numbers
