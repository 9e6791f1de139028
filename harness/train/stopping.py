"""Early stopping: examples held out, looked at every so often, and the model that did best on them kept."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from harness.api import EarlyStopping
from harness.canonical import Json
from harness.errors import UserError
from harness.jobs import CHECKPOINTS
from harness.train import checkpoints
from harness.train.batches import MicroBatches, Order
from harness.train.corpus import Corpus
from harness.train.metrics import Metrics

NAME = "held_out.jsonl"
"""What is written down: a line for every look."""
BEST = "best"
"""Folder among the checkpoints that holds the model of each step that was the best once."""


def held_out(rows: Corpus, settings: EarlyStopping) -> Order:
    """Which examples are held out, `floor(share * n)` and at least one: the same for every seed, order and loss.

    Raises UserError where none is left to train on.
    """
    n = len(rows)
    size = max(1, int(settings.held_out * n))
    if size >= n:
        raise UserError(
            f"train.early_stopping holds {size} of {n} examples out, which leaves none to train on",
            "give the stage more data, or leave train.early_stopping away",
        )
    digests = [
        hashlib.sha256("/".join(("held out", *rows.origin(i))).encode(errors="surrogatepass")).digest()
        for i in range(n)
    ]
    return np.sort(np.array(sorted(range(n), key=digests.__getitem__)[:size], dtype=np.int64))


def looks(steps: int, per_epoch: float, evaluations: int) -> frozenset[int]:
    """After which of the stage's steps it is looked: so often per epoch, and after the last one."""
    between = per_epoch / evaluations
    return frozenset(min(steps, math.ceil(i * between)) for i in range(1, math.ceil(steps / between) + 1)) | {steps}


@dataclass
class Stopping:
    """The looks of one stage, on one rank; all ranks see the same losses."""

    settings: EarlyStopping
    batches: MicroBatches
    """This rank's part of what is held out, as one step."""
    due: frozenset[int]
    job: Path
    save: Callable[[Path], None]
    """Leaves the model of now in a folder; all ranks call it."""
    main: bool
    losses: dict[int, float] = field(default_factory=dict)
    """Step to the loss on what is held out."""

    @property
    def record(self) -> Metrics:
        """The job's own."""
        return Metrics(self.job, NAME)

    @property
    def best(self) -> int:
        """The step with the lowest loss, the first of equals; 0 before any."""
        return best_step(self.losses)

    def begin(self, lines: Iterable[Json]) -> None:
        """Training goes on after these looks."""
        self.losses = {line["step"]: line["loss"] for line in lines}

    def seen(self, step: int, loss: float) -> bool:
        """Write a look down, keep the model if none was better; returns whether patience is at an end."""
        self.losses[step] = loss
        if self.main:
            self.record.add({"step": step, "loss": loss})
        if self.best == step:
            self.save(self._folder(step))
            if self.main:
                self._prune()
        return sum(at > self.best for at in self.losses) >= self.settings.patience

    def take(self) -> None:
        """The best model becomes the job's. It stays among the checkpoints: until the job is sealed, all may be."""
        if not self.best:
            raise UserError("no look at what is held out gave a finite loss", "lower train.lr")
        for found in sorted(self._folder(self.best).iterdir()):
            written, target = self.job / f"{found.name}.writing", self.job / found.name
            shutil.rmtree(written, ignore_errors=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(found, written)
            written.rename(target)

    def result(self) -> Json:
        """For the job's result."""
        return {
            "examples": len(self.batches.steps.order),
            "best_step": self.best,
            "best_loss": self.losses[self.best],
            "looks": len(self.losses),
        }

    def _folder(self, step: int) -> Path:
        return self.job / CHECKPOINTS / BEST / str(step)

    def _prune(self) -> None:
        """Drop models that neither this attempt nor one that goes on from a checkpoint can end with."""
        home = self.job / CHECKPOINTS
        records = [Metrics(folder, NAME).lines for folder in checkpoints.folders(home)]
        wanted = {self.best, *(best_step({line["step"]: line["loss"] for line in lines}) for lines in records)}
        for folder in (home / BEST).iterdir():
            if folder.name not in set(map(str, wanted)):
                shutil.rmtree(folder)


def best_step(losses: dict[int, float]) -> int:
    """The step with the lowest loss, the first of equals; 0 where there is none that is a number."""
    finite = [(loss, step) for step, loss in losses.items() if math.isfinite(loss)]
    return min(finite)[1] if finite else 0


class Stopper(TrainerCallback):  # type: ignore[misc]
    """Looks where it is due, and ends the training where looking on is idle."""

    def __init__(self, stopping: Stopping, measure: Callable[[], float]) -> None:
        self._stopping, self._measure = stopping, measure

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        """A step is done."""
        step = state.global_step
        if step in self._stopping.due and self._stopping.seen(step, self._measure()):
            control.should_training_stop = True
            control.should_save = False  # who goes on from there would train on
        return control
