"""A stage's examples: its mixture rendered and weighted, and the order in which training sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.api import DataSource, Example, Loss
from harness.context import Context, Progress
from harness.data.chat import Rendered, Renderer
from harness.data.mixtures import examples_in, materialise
from harness.jobs import Budget, MixtureItem, Train
from harness.modelfolder import trusts_code
from harness.train import batches, corpus
from harness.train.batches import Order
from harness.train.corpus import Corpus
from harness.train.report import throttled


@dataclass(frozen=True)
class StageData:
    """What a `train` job trains on, tokenised as the model in `start` wants it."""

    declared: Train
    data: Mapping[str, DataSource]
    loss: Loss
    context: Context
    start: Path
    contents: dict[str, str | None] = field(default_factory=dict)
    """Digests of the data files that were read, by dataset."""
    _rendered: dict[tuple[str, str], Rendered] = field(default_factory=dict)
    """Conversations already rendered, by dataset and id; kept for matched stages, which share most of theirs."""

    @cached_property
    def tokenizer(self) -> Any:
        """The one that travels with the model."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.start, trust_remote_code=trusts_code(self.start))

    @cached_property
    def renderer(self) -> Renderer:
        """Of the tokenizer and template that travel with the model."""
        return Renderer(self.tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def corpus(self, mixture: Sequence[MixtureItem], max_length: int) -> Corpus:
        """The mixture's examples, rendered, cut at `max_length` tokens and weighted."""
        read = materialise(mixture, self.data, data_root=self.context.data_root)
        self.contents.update(read.contents)
        report, total = throttled(self.context.progress), len(read.examples)
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

    def render(self, name: str, example: Example) -> Rendered:
        """One conversation as tokens."""
        if self.declared.budget is None:
            return self.renderer.render(example)
        found = self._rendered.get((name, example.id))
        if found is None:
            found = self._rendered[name, example.id] = self.renderer.render(example)
        return found
