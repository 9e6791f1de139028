"""The `train` job: one stage, from the model it starts from to the model it leaves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.api import DataSource, Loss
from harness.canonical import Json
from harness.context import Context
from harness.errors import UserError
from harness.estimate.relief import relief
from harness.jobs import CHECKPOINTS, Train
from harness.machine import failures_named
from harness.sharding import Sharding, read_sharding
from harness.train import acceleration, adapters, layouts, network, preflight
from harness.train.batches import MicroBatches, Order, Steps
from harness.train.checkpoints import REQUEST, Spread
from harness.train.corpus import Corpus
from harness.train.loop import METRICS, Place, StageTrainer, Watch, arguments
from harness.train.loss import Head, Objective
from harness.train.observer import StageObserver, telemetry
from harness.train.process import isolated, peak_memory
from harness.train.stagedata import StageData
from harness.train.throughput import Meter, peak_tflops
from harness.train.world import PATIENCE, World

MICRO_TOKENS = 8192
"""Tokens of a micro-batch where the runtime names none."""


def train(declared: Train, data: Mapping[str, DataSource], loss: Loss, context: Context) -> Json:
    """Train one stage and leave its model in `context.folder`; resumes where an earlier attempt got to.

    What it goes on from stays there too: until the job is sealed, the next attempt may need it.

    Returns `result`, equal for equal declarations, and `measured`; the result is the main process's alone.
    Raises UserError for data or models that cannot be trained on, Failure for a full disk or memory.
    """
    if declared.objective != "sft":
        raise UserError(f"the objective {declared.objective!r} is not known to the training loop", "use objective sft")
    execution, threads = context.execution, context.runtime.get("threads")
    world = World.of(execution)
    sharding = read_sharding(execution.deepspeed) if execution.deepspeed else None
    if sharding is not None and find_spec("deepspeed") is None:
        raise UserError("train.deepspeed needs DeepSpeed", "pip install 'instruct-harness[deepspeed]'")
    if sharding is not None and sharding.shards_parameters and loss.penalty is not None:
        raise UserError(
            "the loss's penalty looks at weights that ZeRO-3 holds in shards", "--set train.deepspeed=zero2"
        )
    share = max(1, threads // execution.processes) if threads else None
    start = context.parents["start"] / "model"
    less = partial(relief, declared, start, execution, context.runtime, references=len(loss.references))
    with (
        world.joined(context.runtime.get("collective_timeout") or PATIENCE),
        isolated(share),
        failures_named("training", context.folder, relief=less),
    ):
        return _Stage(declared, data, loss, context, world, sharding).run()


@dataclass(frozen=True)
class _Stage:
    declared: Train
    data: Mapping[str, DataSource]
    loss: Loss
    context: Context
    world: World
    sharding: Sharding | None

    @cached_property
    def start(self) -> Path:
        return self.context.parents["start"] / "model"

    def run(self) -> Json:
        declared, settings, runtime, world = self.declared, self.declared.settings, self.context.runtime, self.world
        execution, tracker = self.context.execution, telemetry(self.context, world)
        adapters.check(settings, shards_parameters=self.sharded, penalised=self.loss.penalty is not None)
        acceleration.check(execution, shards_parameters=self.sharded)
        data = StageData(declared, self.data, self.loss, self.context, self.start)
        preflight.check(data, world)
        rows = data.corpus(declared.mixture, settings.max_length)
        order = data.order(rows)
        layout, micro_tokens = execution.layout, runtime.get("micro_tokens") or MICRO_TOKENS
        steps = Steps.of(order, rows.lengths, settings.batch_size, micro_tokens, ranks=world.size, layout=layout)
        if self.sharded and world.main:
            layouts.check_architecture(self.start, layout)
        args = arguments(settings, steps, self.context.folder, declared.seed, self.sharding)
        dtype = getattr(torch, settings.dtype)
        attention = layouts.attention_for(self.start, layout, args.device, dtype)
        model = network.load(self.start, attention, **adapters.storage(settings, args.device))
        model.to(args.device)
        self.check_fit(model, rows)
        head = Head.of(model) if self.sharded else layouts.check(model, layout)
        references: dict[str, Any] = {
            name: network.frozen(self.context.parents[name] / "model", args.device, attention)
            for name in self.loss.references
        }
        tuned = adapters.attach(model, settings.lora, declared.seed)
        observer = StageObserver.of(
            self.context,
            world,
            network=tuned,
            data=data,
            rows=rows,
            steps=steps,
            telemetry=tracker,
            device=args.device,
        )
        trainer = StageTrainer(
            tuned,
            args,
            data=MicroBatches(rows, steps, settings.loss_reduction, rank=world.rank, seed=declared.seed),
            objective=Objective(
                self.loss, head, references, runtime.get("chunk_tokens"), fused=self.fused, seen=observer.guard.tokens
            ),
            folder=self.context.folder,
            watch=self.watch(tuned, len(steps)),
            observer=observer,
            place=Place(world, self.spread, {"layout": layout, "micro_tokens": micro_tokens}),
            tokens=[int(rows.lengths[steps.examples(step)].sum()) for step in range(len(steps))],
        )
        with acceleration.accelerated(model, execution):
            restarted = trainer.run(restart=bool(runtime.get("restart_stage")) and not _requeued())
        self.save(tuned, self.context.folder)
        world.barrier()
        attention = layouts.attention_name(model, layout, args.device, dtype)
        measured = {**self.measured(trainer, observer.meter), "attention": attention}
        measured |= {"restarted": True} if restarted else {}
        if not world.main:
            return {"result": {}, "measured": measured}
        result = {**self.result(data, rows, order, steps), "trained_parameters": adapters.trainable(tuned)}
        return {"result": result, "measured": measured}

    @property
    def sharded(self) -> bool:
        """Whether no process holds whole weights."""
        return self.sharding is not None and self.sharding.shards_parameters

    @property
    def fused(self) -> bool:
        """Whether Liger computes the loss; its backward pass would find a sharded head's weight given back."""
        return self.context.execution.liger and not self.sharded

    @property
    def spread(self) -> Spread:
        """Over what a checkpoint's files are spread."""
        sharding, size = self.sharding, self.world.size
        if sharding is None:
            return Spread(size)
        return Spread(
            size, sharding.stage, sharding.offloads_optimizer, sharding.name, sharding.digest, sharding.division
        )

    def check_fit(self, model: Any, rows: Corpus) -> None:
        if int(rows.ids.max()) >= model.get_input_embeddings().num_embeddings:
            raise UserError(f"the tokenizer of {self.start} has more tokens than the model", "choose another model")
        longest, context = int(rows.lengths.max()), getattr(model.config, "max_position_embeddings", None)
        if context is not None and longest > context:
            raise UserError(
                f"examples of up to {longest} tokens do not fit the model's context of {context}",
                f"--set train.max_length={context}",
            )

    def watch(self, tuned: Any, steps: int) -> Watch:
        due = [(math.ceil(Fraction(str(share)) * steps), share) for share in self.declared.keep if share < 1]

        def keep(step: int) -> None:
            for share in (share for at, share in due if at == step):
                self.save(tuned, self.context.folder / "kept" / f"{share:g}")

        runtime = self.context.runtime
        return Watch(
            seconds=float(runtime.get("checkpoint_seconds", 60)),
            steps=runtime.get("checkpoint_steps"),
            keep=keep,
            wanted=(self.context.folder / CHECKPOINTS / REQUEST).exists,
        )

    def save(self, tuned: Any, folder: Path) -> None:
        dtype = getattr(torch, self.declared.settings.dtype)
        adapters.save(tuned, self.start, folder, dtype, self.world, sharded=self.sharded)

    def result(self, data: StageData, rows: Corpus, order: Order, steps: Steps) -> Json:
        metrics = (self.context.folder / METRICS).read_text().splitlines()
        return {
            "steps": len(steps),
            "examples": len(order),
            "tokens": int(rows.lengths[order].sum()),
            "scored_tokens": int(rows.scored[order].sum()),
            "truncated": rows.truncated,
            "dropped": rows.dropped,
            "special_in_text": rows.special_in_text,
            "datasets": {n: {**of, "content": data.contents[n]} for n, of in rows.counts(order).items()},
            "first_loss": json.loads(metrics[0])["loss"],
            "final_loss": json.loads(metrics[-1])["loss"],
            "template_digest": data.renderer.template_digest,
        }

    def measured(self, trainer: StageTrainer, meter: Meter) -> Json:
        execution, size, device, seconds = self.context.execution, self.world.size, trainer.args.device, trainer.seconds
        return {
            "seconds": seconds,
            "device_hours": seconds * size / 3600,
            "tokens_per_second": trainer.rate,
            "mfu": meter.mfu(seconds),
            "peak_tflops": peak_tflops(device, execution.peak_tflops),
            "peak_memory_bytes": int(self.world.highest(peak_memory(device))),
            "world_size": size,
            "launcher": execution.launcher,
            "deepspeed": self.sharding.name if self.sharding else None,
            "layout": execution.layout,
            "execution": execution.model_dump(mode="json"),
            **acceleration.record(execution),
        }


def _requeued() -> bool:
    """Whether SLURM runs this job again: what was to begin anew has begun."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
