"""The `train` job: one stage, from the model it starts from to the model it leaves."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from harness.api import DataSource, Example, Loss
from harness.canonical import Json
from harness.data.chat import Rendered, Renderer
from harness.data.mixtures import examples_in, materialise
from harness.errors import UserError
from harness.jobs import Budget, Context, MixtureItem, Progress, Train
from harness.machine import failures_named
from harness.modelfolder import trusts_code
from harness.train import batches, corpus, network
from harness.train.attention import kernel
from harness.train.batches import MicroBatches, Order, Steps
from harness.train.corpus import Corpus
from harness.train.loop import CHECKPOINTS, METRICS, StageTrainer, Watch, arguments
from harness.train.loss import Objective
from harness.train.process import isolated, peak_memory

MICRO_TOKENS = 8192
"""Tokens of a micro-batch where the runtime names none."""

_BETWEEN_REPORTS = 0.5


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
    _rendered: dict[tuple[str, str], Rendered] = field(default_factory=dict)
    """Conversations already rendered, by dataset and id; kept for matched stages, which share most of theirs."""
    _contents: dict[str, str | None] = field(default_factory=dict)
    """Digests of the data files that were read, by dataset."""

    @cached_property
    def start(self) -> Path:
        return self.context.parents["start"] / "model"

    @cached_property
    def renderer(self) -> Renderer:
        from transformers import AutoTokenizer

        return Renderer(AutoTokenizer.from_pretrained(self.start, trust_remote_code=trusts_code(self.start)))

    def run(self) -> Json:
        declared, settings, runtime = self.declared, self.declared.settings, self.context.runtime
        rows = self.corpus(declared.mixture, settings.max_length)
        order = self.order(rows)
        steps = Steps.of(order, rows.lengths, settings.batch_size, runtime.get("micro_tokens") or MICRO_TOKENS)
        model = network.load(self.start)
        args = arguments(settings, steps, self.context.folder, declared.seed)
        model.to(args.device)
        self.check_fit(model, rows)
        head = network.check_packing(model)
        references: dict[str, Any] = {
            name: network.frozen(self.context.parents[name] / "model", args.device) for name in self.loss.references
        }
        trainer = StageTrainer(
            model,
            args,
            data=MicroBatches(rows, steps, settings.loss_reduction),
            objective=Objective(self.loss, head, references, runtime.get("chunk_tokens")),
            folder=self.context.folder,
            watch=self.watch(model, len(steps)),
        )
        trainer.run()
        self.save(model, self.context.folder / "model")
        shutil.rmtree(self.context.folder / CHECKPOINTS, ignore_errors=True)
        return {"result": self.result(rows, order, steps), "measured": self.measured(trainer)}

    def check_fit(self, model: Any, rows: Corpus) -> None:
        if int(rows.ids.max()) >= model.get_input_embeddings().weight.shape[0]:
            raise UserError(f"the tokenizer of {self.start} has more tokens than the model", "choose another model")
        longest, context = int(rows.lengths.max()), getattr(model.config, "max_position_embeddings", None)
        if context is not None and longest > context:
            raise UserError(
                f"examples of up to {longest} tokens do not fit the model's context of {context}",
                f"--set train.max_length={context}",
            )

    def corpus(self, mixture: Sequence[MixtureItem], max_length: int) -> Corpus:
        read = materialise(mixture, self.data, data_root=self.context.data_root)
        self._contents.update(read.contents)
        report, total = _throttled(self.context.progress), len(read.examples)
        done = iter(range(1, total + 1))
        return corpus.build(
            read.examples,
            self.render,
            self.loss,
            max_length=max_length,
            reduction=self.declared.settings.loss_reduction,
            tick=lambda: report(Progress(next(done), total, "example", "rendering")),
        )

    def order(self, rows: Corpus) -> Order:
        """Which examples are trained on, in order: the stage's own epochs, or as many as its budget asks for."""
        settings, seed, n = self.declared.settings, self.declared.seed, len(rows)
        budget = self.declared.budget
        if budget is None:
            return batches.by_examples(n, examples_in(n, settings.epochs), seed)
        total = self.total(budget)
        if budget.unit == "tokens":
            return batches.by_tokens(rows.lengths, total, seed)
        return batches.by_examples(n, total * settings.batch_size if budget.unit == "steps" else total, seed)

    def total(self, budget: Budget) -> int:
        """What the matched stages train on together, in the budget's unit."""
        total = 0
        for stage in budget.stages:
            rows = self.corpus(stage.mixture, stage.max_length)
            examples = examples_in(len(rows), stage.epochs)
            if budget.unit == "tokens":
                total += examples_in(int(rows.lengths.sum()), stage.epochs)
            else:
                total += examples if budget.unit == "examples" else math.ceil(examples / stage.batch_size)
        return total

    def watch(self, model: Any, steps: int) -> Watch:
        due = [(math.ceil(Fraction(str(share)) * steps), share) for share in self.declared.keep if share < 1]
        report = _throttled(self.context.progress)

        def on_step(step: int, loss: float, rate: float) -> None:
            report(Progress(step, steps, "step", f"loss {loss:.3f}, {rate / 1000:.1f}k tok/s"))

        def keep(step: int) -> None:
            for share in (share for at, share in due if at == step):
                self.save(model, self.context.folder / "kept" / f"{share:g}" / "model")

        runtime = self.context.runtime
        return Watch(
            seconds=float(runtime.get("checkpoint_seconds", 60)),
            steps=runtime.get("checkpoint_steps"),
            on_step=on_step,
            keep=keep,
        )

    def save(self, model: Any, target: Path) -> None:
        network.save(model, self.start, target, getattr(torch, self.declared.settings.dtype))

    def result(self, rows: Corpus, order: Order, steps: Steps) -> Json:
        metrics = (self.context.folder / METRICS).read_text().splitlines()
        return {
            "steps": len(steps),
            "examples": len(order),
            "tokens": int(rows.lengths[order].sum()),
            "scored_tokens": int(rows.scored[order].sum()),
            "truncated": rows.truncated,
            "dropped": rows.dropped,
            "special_in_text": rows.special_in_text,
            "datasets": {n: {**of, "content": self._contents[n]} for n, of in rows.counts(order).items()},
            "first_loss": json.loads(metrics[0])["loss"],
            "final_loss": json.loads(metrics[-1])["loss"],
            "template_digest": self.renderer.template_digest,
        }

    def measured(self, trainer: StageTrainer) -> Json:
        settings, device = self.declared.settings, trainer.args.device
        return {
            "seconds": trainer.seconds,
            "tokens_per_second": trainer.rate,
            "peak_memory_bytes": peak_memory(device),
            "attention": kernel(device, getattr(torch, settings.dtype)),
        }

    def render(self, name: str, example: Example) -> Rendered:
        if self.declared.budget is None:
            return self.renderer.render(example)
        found = self._rendered.get((name, example.id))
        if found is None:
            found = self._rendered[name, example.id] = self.renderer.render(example)
        return found


def _throttled(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """At most two reports a second, and the last one always."""
    last = -math.inf

    def report(now: Progress) -> None:
        nonlocal last
        if now.done >= now.total or time.monotonic() - last >= _BETWEEN_REPORTS:
            last = time.monotonic()
            progress(now)

    return report
