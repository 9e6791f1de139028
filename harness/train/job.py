"""The `train` job: one stage, from the model it starts from to the model it leaves."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from harness.api import DataSource, Loss
from harness.canonical import Json
from harness.context import Context, Progress
from harness.errors import UserError
from harness.jobs import Train
from harness.machine import failures_named
from harness.train import adapters, network
from harness.train.attention import kernel
from harness.train.batches import MicroBatches, Order, Steps
from harness.train.corpus import Corpus
from harness.train.loop import CHECKPOINTS, METRICS, StageTrainer, Watch, arguments
from harness.train.loss import Objective
from harness.train.process import isolated, peak_memory
from harness.train.report import throttled
from harness.train.stagedata import StageData

MICRO_TOKENS = 8192
"""Tokens of a micro-batch where the runtime names none."""


def train(declared: Train, data: Mapping[str, DataSource], loss: Loss, context: Context) -> Json:
    """Train one stage and leave its model in `context.folder`; resumes where an earlier attempt got to.

    Returns `result`, equal for equal declarations, and `measured`.
    Raises UserError for data or models that cannot be trained on, Failure for a full disk or memory.
    """
    if declared.objective != "sft":
        raise UserError(f"the objective {declared.objective!r} is not known to the training loop", "use objective sft")
    with isolated(context.runtime.get("threads")), failures_named("training", context.folder):
        return _Stage(declared, data, loss, context).run()


@dataclass(frozen=True)
class _Stage:
    declared: Train
    data: Mapping[str, DataSource]
    loss: Loss
    context: Context

    @cached_property
    def start(self) -> Path:
        return self.context.parents["start"] / "model"

    def run(self) -> Json:
        declared, settings, runtime = self.declared, self.declared.settings, self.context.runtime
        adapters.check(settings, penalised=self.loss.penalty is not None)
        data = StageData(declared, self.data, self.loss, self.context, self.start)
        rows = data.corpus(declared.mixture, settings.max_length)
        order = data.order(rows)
        steps = Steps.of(order, rows.lengths, settings.batch_size, runtime.get("micro_tokens") or MICRO_TOKENS)
        args = arguments(settings, steps, self.context.folder, declared.seed)
        model = network.load(self.start, **adapters.storage(settings, args.device))
        model.to(args.device)
        self.check_fit(model, rows)
        head = network.check_packing(model)
        references: dict[str, Any] = {
            name: network.frozen(self.context.parents[name] / "model", args.device) for name in self.loss.references
        }
        tuned = adapters.attach(model, settings.lora, declared.seed)
        trainer = StageTrainer(
            tuned,
            args,
            data=MicroBatches(rows, steps, settings.loss_reduction),
            objective=Objective(self.loss, head, references, runtime.get("chunk_tokens")),
            folder=self.context.folder,
            watch=self.watch(tuned, len(steps)),
        )
        trainer.run()
        self.save(tuned, self.context.folder)
        shutil.rmtree(self.context.folder / CHECKPOINTS, ignore_errors=True)
        result = {**self.result(data, rows, order, steps), "trained_parameters": adapters.trainable(tuned)}
        return {"result": result, "measured": self.measured(trainer)}

    def check_fit(self, model: Any, rows: Corpus) -> None:
        if int(rows.ids.max()) >= model.get_input_embeddings().weight.shape[0]:
            raise UserError(f"the tokenizer of {self.start} has more tokens than the model", "choose another model")
        longest, context = int(rows.lengths.max()), getattr(model.config, "max_position_embeddings", None)
        if context is not None and longest > context:
            raise UserError(
                f"examples of up to {longest} tokens do not fit the model's context of {context}",
                f"--set train.max_length={context}",
            )

    def watch(self, tuned: Any, steps: int) -> Watch:
        due = [(math.ceil(Fraction(str(share)) * steps), share) for share in self.declared.keep if share < 1]
        report = throttled(self.context.progress)

        def on_step(step: int, loss: float, rate: float) -> None:
            report(Progress(step, steps, "step", f"loss {loss:.3f}, {rate / 1000:.1f}k tok/s"))

        def keep(step: int) -> None:
            for share in (share for at, share in due if at == step):
                self.save(tuned, self.context.folder / "kept" / f"{share:g}")

        runtime = self.context.runtime
        return Watch(
            seconds=float(runtime.get("checkpoint_seconds", 60)),
            steps=runtime.get("checkpoint_steps"),
            on_step=on_step,
            keep=keep,
        )

    def save(self, tuned: Any, folder: Path) -> None:
        adapters.save(tuned, self.start, folder, getattr(torch, self.declared.settings.dtype))

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

    def measured(self, trainer: StageTrainer) -> Json:
        settings, device = self.declared.settings, trainer.args.device
        return {
            "seconds": trainer.seconds,
            "tokens_per_second": trainer.rate,
            "peak_memory_bytes": peak_memory(device),
            "attention": kernel(device, getattr(torch, settings.dtype)),
        }
