"""The training loop: a thin subclass of transformers' Trainer, which brings optimiser, schedule, resume and ZeRO."""

from __future__ import annotations

import json
import math
import shutil
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.errors import UserError
from harness.jobs import CHECKPOINTS, TrainSettings
from harness.sharding import Sharding
from harness.train import checkpoints, operators
from harness.train.adapters import causal
from harness.train.batches import MicroBatches, Steps
from harness.train.checkpoints import Spread
from harness.train.loss import Objective
from harness.train.microbatch import MicroBatch
from harness.train.observer import Observer
from harness.train.world import World

METRICS = "metrics.jsonl"

_CHECKPOINT_SHARE = 10
"""Training between two checkpoints takes at least so many times as long as writing one."""

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class Watch:
    """When to write a checkpoint, and what else to save."""

    seconds: float = 60.0
    steps: int | None = None
    keep: Callable[[int], None] = lambda _step: None
    """Called after every step, to save models that are to be kept."""
    wanted: Callable[[], bool] = lambda: False
    """Whether somebody wants a checkpoint now."""


@dataclass(frozen=True)
class Place:
    """Where this process stands, and what its checkpoints must say to be read again."""

    world: World = field(default_factory=World)
    spread: Spread = field(default_factory=Spread)
    layout: Mapping[str, Any] = field(default_factory=dict)


def arguments(
    settings: TrainSettings, steps: Steps, folder: Path, seed: int, sharding: Sharding | None = None
) -> TrainingArguments:
    """The settings in transformers' words."""
    warmup = min(math.ceil(settings.warmup * len(steps)), len(steps) - 1)
    args = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS / "writing"),
        max_steps=len(steps),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=steps.accumulation,
        learning_rate=settings.lr,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=warmup,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_epsilon=settings.eps,
        # Without a limit the norm is still wanted, and not every stage of ZeRO computes one that nobody clips with.
        max_grad_norm=settings.clip or math.inf,
        optim="adamw_torch_fused",
        bf16=settings.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        deepspeed=sharding.filled() if sharding else None,
        # Every parameter takes part in every micro-batch, also in an empty one; looking for others costs time.
        ddp_find_unused_parameters=False,
        seed=seed,
        data_seed=seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    # On a machine of several GPUs transformers would wrap the model in DataParallel, which cannot split a packed row:
    # every GPU would compute the whole of it.
    args._n_gpu = min(args.n_gpu, 1)  # noqa: SLF001 -- transformers' own way to say so
    if sharding is not None:
        import deepspeed

        operators.build(sharding, on_cpu=args.use_cpu)
        # DeepSpeed takes over the process group that stands; on a CPU nothing else tells it to before weights load.
        deepspeed.init_distributed("gloo" if args.use_cpu else None, auto_mpi_discovery=False)
    return args


class StageTrainer(Trainer):  # type: ignore[misc]
    """Minimises an `Objective` over prepared micro-batches; writes `metrics.jsonl` and sealed checkpoints."""

    def __init__(
        self,
        network: Any,
        args: TrainingArguments,
        *,
        data: MicroBatches,
        objective: Objective,
        folder: Path,
        watch: Watch,
        tokens: Sequence[int],
        observer: Observer | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(model=network, args=args, train_dataset=data)
        self._place = place or Place()
        self._world = self._place.world
        self.remove_callback(PrinterCallback)
        self.add_callback(_Watcher(watch, self._world))
        # The loss arrives divided by what the whole step is worth; nothing is left to scale.
        self.loss_is_scaled_for_ga = True
        self._objective = objective
        self._folder = folder
        self._metrics = folder / METRICS
        self._observer = observer or Observer()
        self._tokens_of_step = tokens
        self._started = time.monotonic()
        self._seconds_before = 0.0
        self.tokens = 0

    @property
    def seconds(self) -> float:
        """Training time, that of earlier attempts up to their last checkpoint included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Tokens per second of training, padding not counted."""
        return self.tokens / max(self.seconds, 1e-9)

    def run(self, *, restart: bool = False) -> bool:
        """Train to the end, from the newest complete checkpoint if there is one and `restart` does not forbid it.

        Returns whether the stage was begun anew, in this attempt or an earlier one, leaving a checkpoint aside.
        Raises UserError where the checkpoint was written by other processes or in other shards.
        """
        home = self._folder / CHECKPOINTS
        looked = self._look(home, restart=restart) if self._world.main else (None, False)
        found, restarted = self._world.agreed(looked)
        if found is not None:
            found.check(self._place.spread)
        self._restore(found)
        if self._world.rank:
            torch.manual_seed(self.args.seed + (self._world.rank << 32))  # or all would draw the same noise
        self._started = time.monotonic()
        network = self.model
        network.forward = types.MethodType(self._forward, network)
        try:
            self._observer.start(_losses(found))
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

    def _look(self, home: Path, *, restart: bool) -> tuple[checkpoints.Checkpoint | None, bool]:
        shutil.rmtree(home / "writing", ignore_errors=True)
        if restart:
            checkpoints.discard(home)
        return checkpoints.newest(home), (home / checkpoints.RESTARTED).exists()

    def _forward(self, network: Any, batch: MicroBatch, denominator: float) -> torch.Tensor:
        # Everything that reads parameters happens inside the model's forward, where sharded ones are gathered.
        return self._objective(causal(network), batch, denominator, ranks=self.accelerator.num_processes)

    def _restore(self, found: checkpoints.Checkpoint | None) -> None:
        """Take clock, tokens and the metrics file back to where the checkpoint left them."""
        if found is not None:
            self._seconds_before = found.seconds
            self.tokens = sum(self._tokens_of_step[: found.step])
        if not self._world.main:
            return
        if found is None:
            self._metrics.write_text("")
        else:
            shutil.copyfile(found.folder / METRICS, self._metrics)

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
        self.tokens += self._tokens_of_step[step - 1]
        if self._world.main:
            line = {"step": step, "loss": loss, "lr": lr, "grad_norm": norm, "tokens": self.tokens}
            with self._metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")
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
            shutil.copyfile(self._metrics, written / METRICS)
            checkpoints.seal(
                written,
                self._folder / CHECKPOINTS,
                step=step,
                seconds=self.seconds,
                spread=place.spread,
                layout=place.layout,
            )
        self._world.barrier()


class _Watcher(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when one is due; the last step needs none, for the finished model follows it."""

    def __init__(self, watch: Watch, world: World) -> None:
        self._watch = watch
        self._world = world
        self._wait = watch.seconds
        self._last = self._asked = time.monotonic()

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._watch.keep(state.global_step)
        self._asked = time.monotonic()
        # Clocks differ, and a checkpoint is written by all or by none.
        due = self._world.decided(self._asked - self._last >= self._wait or self._watch.wanted())
        due = due or (self._watch.steps is not None and state.global_step % self._watch.steps == 0)
        control.should_save = due and state.global_step < state.max_steps
        return control

    def on_save(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        self._last = time.monotonic()
        # That of a large model takes minutes to write and seal.
        self._wait = max(self._watch.seconds, _CHECKPOINT_SHARE * (self._last - self._asked))
        return control


def _losses(found: checkpoints.Checkpoint | None) -> list[float]:
    """Of the steps before a checkpoint."""
    lines = (found.folder / METRICS).read_text().splitlines() if found else []
    return [json.loads(line)["loss"] for line in lines]


def _clip_and_tell(engine: Any) -> None:
    """Clip as torch does, and keep the norm: where nothing is sharded, DeepSpeed keeps none for the metrics."""
    parameters = [parameter for parameter in engine.module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, engine.gradient_clipping())
    engine._global_grad_norm = norm  # noqa: SLF001 -- where the engine keeps it for every other stage


def _only(rows: list[MicroBatch]) -> MicroBatch:
    return rows[0]
