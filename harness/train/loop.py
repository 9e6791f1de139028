"""The training loop: a thin subclass of transformers' Trainer, which brings optimiser, schedule, resume and ZeRO."""

from __future__ import annotations

import shutil
import time
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Trainer

from harness.errors import UserError
from harness.jobs import CHECKPOINTS
from harness.train import checkpoints
from harness.train.adapters import causal
from harness.train.arguments import StageArguments
from harness.train.batches import MicroBatches
from harness.train.checkpoints import WRITING, Spread
from harness.train.loss import Objective
from harness.train.metrics import Metrics
from harness.train.microbatch import MicroBatch
from harness.train.observer import Observer
from harness.train.stopping import Stopper, Stopping
from harness.train.watch import Watch, Watcher
from harness.train.world import World


@dataclass(frozen=True)
class Place:
    """Where this process stands, and what its checkpoints must say to be read again."""

    world: World = field(default_factory=World)
    spread: Spread = field(default_factory=Spread)
    layout: Mapping[str, Any] = field(default_factory=dict)


class StageTrainer(Trainer):  # type: ignore[misc]
    """Minimises an `Objective` over prepared micro-batches; writes `metrics.jsonl` and sealed checkpoints."""

    def __init__(
        self,
        network: Any,
        args: StageArguments,
        *,
        data: MicroBatches,
        objective: Objective,
        folder: Path,
        watch: Watch,
        observer: Observer | None = None,
        place: Place | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        super().__init__(model=network, args=args, train_dataset=data)
        self._place = place or Place()
        self._world = self._place.world
        self.remove_callback(PrinterCallback)
        self.add_callback(Watcher(watch, self._world))
        self._stopping = stopping
        if stopping is not None:
            self.add_callback(Stopper(stopping, self._held_out))
        # The loss arrives divided by what the whole step is worth; nothing is left to scale.
        self.loss_is_scaled_for_ga = True
        self._objective = objective
        self._folder = folder
        self._metrics = Metrics(folder)
        self._records = [self._metrics, *([] if stopping is None else [stopping.record])]
        self._observer = observer or Observer()
        self._tokens = np.concatenate([[0], np.cumsum(data.tokens)])
        self._started = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Training time, that of earlier attempts up to their last checkpoint included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def tokens(self) -> int:
        """Of the steps that are done, over all ranks."""
        return int(self._tokens[self.state.global_step])

    @property
    def rate(self) -> float:
        """Tokens per second of training, padding not counted."""
        return self.tokens / max(self.seconds, 1e-9)

    def run(self, *, restart: bool = False) -> bool:
        """Train to the end, from the newest complete checkpoint if there is one and `restart` does not forbid it.

        Returns whether the stage was begun anew, in this attempt or an earlier one, leaving a checkpoint aside.
        Raises UserError where the checkpoint was written by other processes or in other shards.
        """
        found, restarted = self._world.agreed(self._look(restart=restart) if self._world.main else (None, False))
        if found is not None:
            found.check(self._place.spread)
            self._seconds_before = found.seconds
        if self._world.main:
            for record in self._records:
                record.begin(found.folder if found else None)
        if self._stopping is not None:
            self._stopping.begin(self._world.agreed(self._stopping.record.lines if self._world.main else []))
        if self._world.rank:
            torch.manual_seed(self.args.seed + (self._world.rank << 32))  # or all would draw the same noise
        self._started = time.monotonic()
        network = self.model
        network.forward = types.MethodType(self._forward, network)
        try:
            self._observer.start(Metrics(found.folder).losses if found else [])
            self.train(resume_from_checkpoint=str(found.folder) if found else None)
        except RuntimeError as error:
            if "Expected to have finished reduction" not in str(error):
                raise
            raise UserError(
                f"some parameters of {type(network).__name__} take no part in the loss",
                "--set train.deepspeed=zero2 allows that",
            ) from error
        finally:
            del network.forward
            self._observer.close()
        return restarted

    def _look(self, *, restart: bool) -> tuple[checkpoints.Checkpoint | None, bool]:
        home = self._folder / CHECKPOINTS
        shutil.rmtree(home / WRITING, ignore_errors=True)
        if restart:
            checkpoints.discard(home)
        return checkpoints.newest(home), (home / checkpoints.RESTARTED).exists()

    def _forward(self, network: Any, batch: MicroBatch, denominator: float) -> torch.Tensor:
        # Everything that reads parameters happens inside the model's forward, where sharded ones are gathered.
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.autocast):
            return self._objective(causal(network), batch, denominator, ranks=self.accelerator.num_processes)

    # --- what is computed -----------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[MicroBatch]:
        """Micro-batches one by one, in order; its own generator keeps it from drawing on the model's randomness."""
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_size=1, collate_fn=_only, generator=torch.Generator().manual_seed(self.args.seed)
        )

    def _get_num_items_in_batch(self, batch_samples: list[MicroBatch], device: torch.device) -> torch.Tensor:  # noqa: ARG002 -- the Trainer's signature
        """What a whole optimiser step's weighted sum is divided by: every micro-batch of it knows, on every rank."""
        self._observer.begin_step()
        return torch.tensor(batch_samples[0].denominator, dtype=torch.float64)

    def _prepare_inputs(self, inputs: MicroBatch) -> MicroBatch:
        return inputs.to(self.args.device)

    def compute_loss(
        self,
        model: Any,
        inputs: MicroBatch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """This micro-batch's part of the step's loss."""
        assert num_items_in_batch is not None
        assert not return_outputs
        if self._place.spread.stage == 0 and "clip_fp32_gradients" not in vars(model):
            model.clip_fp32_gradients = types.MethodType(_clip_and_tell, model)
        loss: torch.Tensor = model(inputs, float(num_items_in_batch) or 1.0)
        self._observer.micro_batch(inputs, loss)
        # A tensor of its own: where nothing scales the loss (ZeRO-0), DeepSpeed would take the gradient of the tensor
        # that its engine returned for one of a backward pass not its own, and divide by the micro-batches once more.
        return loss.clone()

    def _held_out(self) -> float:
        """The stage's loss on what is held out, over all ranks, without noise and penalty."""
        assert self._stopping is not None
        network, batches = self.model_wrapped, self._stopping.batches
        network.eval()
        with torch.no_grad():
            inputs = (replace(self._prepare_inputs(batches[i]), first=False) for i in range(len(batches)))
            found = sum(float(network(batch, batch.denominator or 1.0)) for batch in inputs)
        network.train()
        return self._world.mean(found)

    def floating_point_ops(self, inputs: MicroBatch) -> int:  # noqa: ARG002 -- the Trainer's signature
        """Not counted."""
        return 0

    # --- what is written down -------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002 -- as above
        """One line of `metrics.jsonl` per optimiser step."""
        if "grad_norm" not in logs:
            return
        step, loss, lr, norm = self.state.global_step, logs["loss"], logs["learning_rate"], logs["grad_norm"]
        self._observer.check(step, loss, norm, lr, self._world.barrier)
        if self._world.main:
            self._metrics.add({"step": step, "loss": loss, "lr": lr, "grad_norm": norm, "tokens": self.tokens})
        self._observer.step(step, loss, norm, lr)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Whole weights of a checkpoint; DeepSpeed's own files hold them already."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._observer.suspicious:
            return
        super()._save_checkpoint(model, trial)
        # Sealed once every process has written its part, and only then gone on from.
        self._world.barrier()
        if self._world.main:
            step, place = self.state.global_step, self._place
            written = Path(self.args.output_dir) / f"checkpoint-{step}"
            for record in self._records:
                record.copy(written)
            checkpoints.seal(
                written,
                self._folder / CHECKPOINTS,
                step=step,
                seconds=self.seconds,
                spread=place.spread,
                layout=place.layout,
            )
        self._world.barrier()


def _clip_and_tell(engine: Any) -> None:
    """Clip as torch does, and keep the norm: where nothing is sharded, DeepSpeed keeps none for the metrics."""
    parameters = [parameter for parameter in engine.module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, engine.gradient_clipping())
    engine._global_grad_norm = norm  # noqa: SLF001 -- where the engine keeps it for every other stage


def _only(rows: list[MicroBatch]) -> MicroBatch:
    return rows[0]
