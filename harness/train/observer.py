"""All that looks on while a stage trains: its guard, its meter, its tracker, and what is said beside the bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from harness.context import Progress
from harness.train.batches import MicroBatches
from harness.train.guard import Guard, Reader
from harness.train.microbatch import MicroBatch
from harness.train.process import peak_memory
from harness.train.report import throttled
from harness.train.stagedata import StageData
from harness.train.telemetry import Telemetry
from harness.train.throughput import Meter, Work, peak_tflops, speed_note
from harness.train.world import World


class Observer:
    """Told by the loop what happens on this rank; this one takes no notice. All ranks agree on a step's numbers."""

    @property
    def suspicious(self) -> bool:
        """Whether no checkpoint may be written yet."""
        return False

    def start(self, losses: Sequence[float]) -> None:
        """Training goes on after steps with these losses."""

    def begin_step(self) -> None:
        """An optimiser step begins."""

    def micro_batch(self, batch: MicroBatch, loss: torch.Tensor) -> None:
        """A micro-batch's part of the step's loss has been computed."""

    def check(self, step: int, loss: float, grad_norm: float, lr: float, together: Callable[[], None]) -> None:
        """Raise Failure where no step may follow this one; `together` waits for the other ranks."""

    def step(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        """A step is done."""

    def close(self) -> None:
        """Training has ended, one way or another."""


@dataclass(frozen=True)
class StageObserver(Observer):
    """Guards, measures and shows a stage."""

    guard: Guard
    meter: Meter
    telemetry: Telemetry | None = None
    """Of the main process alone, as is what follows."""
    report: Callable[[Progress], None] = lambda _: None
    memory: Callable[[], int] = lambda: 0
    """Bytes at the highest point so far."""
    total: int = 0
    """Steps of the stage."""

    @classmethod
    def of(cls, data: StageData, batches: MicroBatches, network: Any, world: World, device: torch.device) -> Self:
        """That of one rank of a stage which trains `network`."""
        context, rows, steps = data.context, batches.corpus, batches.steps
        guard = Guard(
            context.folder,
            Reader(lambda place: rows.origin(int(steps.order[place])), data.decode),
            rank=world.rank,
            label=context.label,
            watch_divergence=context.runtime.get("stop_on_divergence", True),
        )
        work = Work.known(network)
        flops = work.examples(rows.lengths, rows.scored) if work else np.zeros(len(rows))
        peak = peak_tflops(device, context.execution.peak_tflops) if work else None
        meter = Meter(
            batches.tokens,
            np.array([flops[steps.examples(step)].sum() for step in range(len(steps))]),
            None if peak is None else peak * 1e12 * world.size,
        )
        if not world.main:
            return cls(guard, meter)
        telemetry = Telemetry(
            context.execution.tracking, context.folder, context.notice, label=context.label, project=context.run
        )
        return cls(guard, meter, telemetry, throttled(context.progress), lambda: peak_memory(device), total=len(steps))

    def start(self, losses: Sequence[float]) -> None:
        """As `Observer`."""
        self.guard.start(losses)
        self.meter.start(len(losses))
        if self.telemetry is not None:
            self.telemetry.start(len(losses))

    def begin_step(self) -> None:
        """As `Observer`."""
        self.guard.begin_step()

    def micro_batch(self, batch: MicroBatch, loss: torch.Tensor) -> None:
        """As `Observer`."""
        self.guard.saw(batch, loss)

    @property
    def suspicious(self) -> bool:
        """As `Observer`."""
        return self.guard.suspicious

    def check(self, step: int, loss: float, grad_norm: float, lr: float, together: Callable[[], None]) -> None:
        """As `Observer`."""
        self.guard.check(step, loss, grad_norm, lr, together)

    def step(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        """As `Observer`."""
        speed = self.meter.step(step)
        if self.telemetry is None:
            return
        self.telemetry.log(
            step,
            {
                "loss": loss,
                "grad_norm": grad_norm,
                "lr": lr,
                "tokens": self.meter.tokens(step),
                "tokens_per_second": speed.tokens_per_second,
                "mfu": speed.mfu,
                "memory_gib": self.memory() / 2**30,
            },
        )
        self.report(Progress(step, self.total, "step", speed_note(loss, speed), speed.seconds_left))

    def close(self) -> None:
        """As `Observer`."""
        if self.telemetry is not None:
            self.telemetry.close()
