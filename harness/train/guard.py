"""Stops a training whose loss went wrong, before a checkpoint takes up what it did, and saves the batch that did it."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from harness.api import Part
from harness.errors import Failure
from harness.train import badbatch
from harness.train.badbatch import FOLDER, Held
from harness.train.microbatch import MicroBatch

FACTOR = 3.0
"""Times the lowest running median that a loss may reach."""

WINDOW = 50
"""Steps that the median runs over."""

PATIENCE = 10
"""Steps in a row above it that make a divergence."""


class Divergence:
    """Ten steps in a row above three times the lowest running median so far, and above the stage's first loss.

    The median runs over the last fifty steps that were not. A single bad batch is no divergence; nor is a loss that
    rises a little after it has become very small.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._healthy: deque[float] = deque(maxlen=WINDOW)
        self._lowest = math.inf
        self.above = 0
        """Steps in a row, up to the last one."""

    def follow(self, loss: float) -> bool:
        """Whether the training has diverged with this step's loss."""
        if self._first is None:
            self._first = loss
        if loss > max(FACTOR * self._lowest, self._first):
            self.above += 1
        else:
            self.above = 0
            self._healthy.append(loss)
            self._lowest = min(self._lowest, median(self._healthy))
        return self.above >= PATIENCE


@dataclass(frozen=True)
class Reader:
    """How to tell people what a batch holds."""

    origin: Callable[[int], tuple[str, str]]
    """Place of an example in the order of the stage to the name of its dataset and its id there."""
    decode: Callable[[Sequence[int]], str]
    """Tokens to their text."""


@dataclass(frozen=True, eq=False)
class _Seen:
    batch: MicroBatch
    loss: torch.Tensor
    """What the micro-batch added to the step's loss."""
    losses: torch.Tensor | None
    """Of each token, as `batch.input_ids`."""

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.loss))


class Guard:
    """Follows the losses of a stage on one rank."""

    def __init__(
        self, job: Path, reader: Reader, *, rank: int = 0, label: str = "", watch_divergence: bool = True
    ) -> None:
        self.folder = job / FOLDER
        self._reader, self._rank, self._label = reader, rank, label
        self._divergence = Divergence() if watch_divergence else None
        self._seen: list[_Seen] = []
        self._risen: tuple[int, list[_Seen]] = (0, [])
        self._losses: torch.Tensor | None = None

    @property
    def suspicious(self) -> bool:
        """Whether the last step may turn out to be part of a divergence: no checkpoint may take it up."""
        return self._divergence is not None and self._divergence.above > 0

    def start(self, losses: Sequence[float]) -> None:
        """Training goes on after steps with these losses; a batch of an earlier attempt is no longer of interest."""
        if self._rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._divergence is not None:
            for loss in losses:
                self._divergence.follow(loss)

    def begin_step(self) -> None:
        """Another optimiser step begins."""
        self._seen = []

    def tokens(self, losses: torch.Tensor) -> None:
        """The loss of each token of the micro-batch that is being computed."""
        self._losses = losses

    def saw(self, batch: MicroBatch, loss: torch.Tensor) -> None:
        """A micro-batch and what it added to the loss; nothing is looked at until something is wrong."""
        self._seen.append(_Seen(batch, loss.detach(), self._losses))
        self._losses = None

    def check(
        self, step: int, loss: float, grad_norm: float, rate: float, together: Callable[[], None] = lambda: None
    ) -> None:
        """Raise Failure where the step, whose numbers all ranks agree on, must not be followed by another.

        What this rank held of it is saved first; `together` waits until all ranks have done so.
        """
        found = self._found(step, loss, grad_norm)
        if found is None:
            return
        problem, at, seen = found
        try:
            examples = [held for number, one in enumerate(seen) for held in self._held(number, one)]
            if examples:
                badbatch.write(self.folder, self._rank, examples, self._reader.decode)
            if self._rank == 0:
                numbers = {"step": step, "loss": loss, "grad_norm": grad_norm, "lr": rate, "batch_of_step": at}
                badbatch.write_why(self.folder, {"problem": problem, "job": self._label, **numbers})
        finally:
            together()
        raise Failure(
            problem,
            f"lower train.lr, or look at the batch: harness data batch {self.folder}; "
            "the last checkpoint is from before it",
        )

    def _found(self, step: int, loss: float, grad_norm: float) -> tuple[str, int, list[_Seen]] | None:
        """What is wrong, and the step and the micro-batches that did it."""
        if not math.isfinite(loss):
            # A penalty can be at fault where every micro-batch alone is not.
            return f"the loss is {loss} at step {step}", step, [one for one in self._seen if not one.finite]
        if not math.isfinite(grad_norm):
            return f"the gradient norm is {grad_norm} at step {step}, where the loss is {loss:.4g}", step, self._seen
        if self._divergence is None:
            return None
        diverged = self._divergence.follow(loss)
        if self._divergence.above == 1:
            self._risen = (step, self._seen)
        if not diverged:
            return None
        at, seen = self._risen
        since = f"has been above {FACTOR:g} times its lowest running median since step {at}"
        return f"the loss diverges: it is {loss:.4g} at step {step}, and {since}", at, seen

    def _held(self, number: int, seen: _Seen) -> Iterator[Held]:
        batch = seen.batch
        real = (batch.parts != Part.PAD).flatten().cpu()
        ids, parts, weights, losses = (
            None if tensor is None else tensor.flatten().cpu()[real].numpy()
            for tensor in (batch.input_ids, batch.parts, batch.weights, seen.losses)
        )
        assert ids is not None
        assert parts is not None
        assert weights is not None
        if not len(ids):  # nothing but padding, to fill a step up
            return
        start = 0
        for place, length in zip(batch.draws.places, batch.lengths, strict=True):
            span = slice(start, start + length)
            dataset, id_ = self._reader.origin(place)
            tokens = None if losses is None else losses[span].astype(np.float32)
            yield Held(dataset, id_, number, ids[span], parts[span], weights[span], tokens)
            start += length
