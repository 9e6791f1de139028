"""The `train` job: one stage, from the model it starts from to the model it leaves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from harness.api import DataSource, Loss
from harness.canonical import Json
from harness.context import Context
from harness.errors import UserError
from harness.estimate.relief import relief
from harness.execution import Execution
from harness.jobs import CHECKPOINTS, Train
from harness.machine import failures_named
from harness.sharding import Sharding, read_sharding
from harness.train import acceleration, adapters, layouts, network, outcome, preflight
from harness.train.arguments import StageArguments, arguments
from harness.train.batches import MicroBatches, Order, Steps
from harness.train.checkpoints import REQUEST, Spread
from harness.train.corpus import Corpus
from harness.train.loop import Place, StageTrainer
from harness.train.loss import Head, Objective
from harness.train.observer import StageObserver
from harness.train.process import isolated
from harness.train.stagedata import StageData
from harness.train.stopping import Stopping, looks
from harness.train.watch import Watch
from harness.train.world import PATIENCE, World

MICRO_TOKENS = 8192
"""Tokens of a micro-batch where the runtime names none."""


def train(declared: Train, data: Mapping[str, DataSource], loss: Loss, context: Context) -> Json:
    """Train one stage and leave its model in `context.folder`; resumes where an earlier attempt got to.

    What it goes on from stays there too: until the job is sealed, the next attempt may need it.

    Returns `result`, equal for equal declarations, and `measured`; the result is the main process's alone.
    Raises UserError for data or models that cannot be trained on, Failure for a full disk or memory.
    """
    execution, runtime, start = context.execution, context.runtime, context.parents["start"] / "model"
    world, threads = World.of(execution), runtime.get("threads")
    less = partial(relief, declared, start, execution, runtime, references=len(loss.references))
    with (
        world.joined(runtime.get("collective_timeout") or PATIENCE),
        isolated(max(1, threads // execution.processes) if threads else None),
        failures_named("training", context.folder, relief=less),
    ):
        return _Stage(StageData(declared, data, loss, context, start), world).run()


@dataclass(frozen=True)
class _Networks:
    """What is trained, and what it is compared with."""

    model: Any
    """The transformers causal language model."""
    tuned: Any
    """What the optimiser is given: the model itself, or adapters on it."""
    head: Head
    references: Mapping[str, Any]


@dataclass(frozen=True)
class _Stage:
    """One rank's part of a stage."""

    data: StageData
    world: World

    def run(self) -> Json:
        self.check()
        batches = self.divided()
        args = arguments(self.declared.settings, batches.steps, self.folder, self.declared.seed, self.sharding)
        networks = self.loaded(batches.corpus, args.device)
        observer = StageObserver.of(self.data, batches, networks.tuned, self.world, args.device)
        stopping = self.stopping(batches, networks.tuned)
        trainer = self.trainer(networks, args, batches, observer, stopping)
        with acceleration.accelerated(networks.model, self.execution):
            restarted = trainer.run(restart=bool(self.context.runtime.get("restart_stage")) and not _requeued())
        if stopping is None:
            self.save(networks.tuned, self.folder)
        elif self.world.main:
            stopping.take()
        self.world.barrier()
        measured = {
            **outcome.measured(self.context, self.world, trainer, observer.meter),
            "attention": layouts.attention_name(networks.model, self.execution.layout, args.device, self.dtype),
            **({"restarted": True} if restarted else {}),
        }
        result = outcome.result(self.data, batches, trainer) if self.world.main else {}
        stopped = {} if stopping is None else {"early_stopping": stopping.result()}
        return {"result": {**result, **stopped}, "measured": measured}

    # --- before any weights are read ------------------------------------------------------------------------------

    def check(self) -> None:
        preflight.check(self.data, self.world)
        if self.sharded and self.world.main:  # of weights in shards no logits can be looked at
            layouts.check_architecture(self.data.start, self.execution.layout)

    def divided(self) -> MicroBatches:
        """The stage's examples in the micro-batches of this rank."""
        rows = self.data.corpus(self.declared.mixture, self.declared.settings.max_length)
        return self.in_steps(rows, self.data.order(rows), self.declared.settings.batch_size)

    def in_steps(self, rows: Corpus, order: Order, batch_size: int) -> MicroBatches:
        layout, ranks = self.execution.layout, self.world.size
        steps = Steps.of(order, rows.room(layout), batch_size, self.micro_tokens, ranks=ranks, layout=layout)
        return MicroBatches(rows, steps, self.data.reduction, rank=self.world.rank, seed=self.declared.seed)

    def stopping(self, batches: MicroBatches, tuned: Any) -> Stopping | None:
        """How the stage may end early; None where it may not."""
        settings, rows = self.declared.settings, batches.corpus
        if settings.early_stopping is None:
            return None
        held_out = self.data.held_out(rows)
        per_epoch = (len(rows) - len(held_out)) / settings.batch_size
        return Stopping(
            settings.early_stopping,
            self.in_steps(rows, held_out, len(held_out)),
            looks(len(batches.steps), per_epoch, settings.early_stopping.evaluations),
            self.folder,
            partial(self.save, tuned),
            self.world.main,
        )

    # --- networks and trainer -------------------------------------------------------------------------------------

    def loaded(self, rows: Corpus, device: torch.device) -> _Networks:
        settings, layout = self.declared.settings, self.execution.layout
        attention = layouts.attention_for(self.data.start, layout, device, self.dtype)
        model = network.load(self.data.start, attention, **adapters.storage(settings, device))
        model.to(device)
        self.check_fit(model, rows)
        head = Head.of(model) if self.sharded else layouts.check(model, layout)
        references: dict[str, Any] = {
            name: network.frozen(self.context.parents[name] / "model", device, attention)
            for name in self.data.loss.references
        }
        return _Networks(model, adapters.attach(model, settings.lora, self.declared.seed), head, references)

    def check_fit(self, model: Any, rows: Corpus) -> None:
        if int(rows.ids.max()) >= model.get_input_embeddings().num_embeddings:
            raise UserError(
                f"the tokenizer of {self.data.start} has more tokens than the model", "choose another model"
            )
        longest, context = int(rows.longest.max()), getattr(model.config, "max_position_embeddings", None)
        if context is not None and longest > context:
            raise UserError(
                f"examples of up to {longest} tokens do not fit the model's context of {context}",
                f"--set train.max_length={context}",
            )

    def trainer(
        self,
        networks: _Networks,
        args: StageArguments,
        batches: MicroBatches,
        observer: StageObserver,
        stopping: Stopping | None,
    ) -> StageTrainer:
        objective = Objective(
            self.data.loss,
            networks.head,
            networks.references,
            self.context.runtime.get("chunk_tokens"),
            # A sharded head's weight is given back before Liger's backward pass looks for it.
            fused=self.execution.liger and not self.sharded,
            seen=observer.guard.tokens,
        )
        return StageTrainer(
            networks.tuned,
            args,
            data=batches,
            objective=objective,
            folder=self.folder,
            watch=self.watch(networks.tuned, len(batches.steps)),
            observer=observer,
            place=Place(self.world, self.spread, {"layout": self.execution.layout, "micro_tokens": self.micro_tokens}),
            stopping=stopping,
        )

    def watch(self, tuned: Any, steps: int) -> Watch:
        due = [(math.ceil(Fraction(str(share)) * steps), share) for share in self.declared.keep if share < 1]

        def keep(step: int) -> None:
            for share in (share for at, share in due if at == step):
                self.save(tuned, self.folder / "kept" / f"{share:g}")

        runtime = self.context.runtime
        return Watch(
            seconds=float(runtime.get("checkpoint_seconds", 60)),
            steps=runtime.get("checkpoint_steps"),
            keep=keep,
            wanted=(self.folder / CHECKPOINTS / REQUEST).exists,
        )

    def save(self, tuned: Any, folder: Path) -> None:
        adapters.save(tuned, self.data.start, folder, self.dtype, self.world, sharded=self.sharded)

    # --- what is known from the start -----------------------------------------------------------------------------

    @property
    def declared(self) -> Train:
        return self.data.declared

    @property
    def context(self) -> Context:
        return self.data.context

    @property
    def execution(self) -> Execution:
        return self.context.execution

    @property
    def folder(self) -> Path:
        return self.context.folder

    @property
    def dtype(self) -> torch.dtype:
        """That of the computation, and of what is saved."""
        found: torch.dtype = getattr(torch, self.declared.settings.dtype)
        return found

    @property
    def micro_tokens(self) -> int:
        return self.context.runtime.get("micro_tokens") or MICRO_TOKENS

    @cached_property
    def sharding(self) -> Sharding | None:
        name = self.execution.deepspeed
        return read_sharding(name) if name else None

    @property
    def sharded(self) -> bool:
        """Whether no process holds whole weights."""
        return self.sharding is not None and self.sharding.shards_parameters

    @property
    def spread(self) -> Spread:
        """Over what a checkpoint's files are spread."""
        sharding, size = self.sharding, self.world.size
        if sharding is None:
            return Spread(size)
        return Spread(
            size, sharding.stage, sharding.offloads_optimizer, sharding.name, sharding.digest, sharding.division
        )


def _requeued() -> bool:
    """Whether SLURM runs this job again: what was to begin anew has begun."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
