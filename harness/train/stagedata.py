"""A stage's examples: its mixture rendered and weighted, and the order in which training sees them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from harness.api import DataSource, Loss
from harness.canonical import digest
from harness.context import Context, Progress
from harness.data import flat
from harness.data.chat import Renderer
from harness.data.mixtures import examples_in, is_beside, settled
from harness.data.rendering import TOKENS, Renderings
from harness.files import explained
from harness.jobs import CORPUS, Budget, MixtureItem, Train
from harness.modelfolder import trusts_code
from harness.train import batches, corpus
from harness.train.batches import Order
from harness.train.corpus import Corpus, Reduction, Weighing
from harness.train.report import throttled
from harness.train.selection import Selection
from harness.train.stopping import held_out


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

    @cached_property
    def renderings(self) -> Renderings:
        """Tokens of the datasets, from the cache of this machine where it has one."""
        runtime, tell = self.context.runtime, throttled(self.context.progress)
        cache = Path(runtime["cache"]) if runtime.get("cache") else None
        return Renderings(
            self.data,
            self.renderer.dialect,
            (cache or self.context.folder / CORPUS) / TOKENS,
            data_root=self.context.data_root,
            facts=cache,
            processes=runtime.get("threads") or len(os.sched_getaffinity(0)),
            report=lambda done, total: tell(Progress(done, total, "example", "rendering")),
            waiting=self.waiting,
        )

    @property
    def weighing(self) -> Weighing:
        """How the stage's loss weighs its examples."""
        unlearnt = None if self.declared.settings.end_of_turn else self.renderer.end_of_turn
        return Weighing(self.loss, self.reduction, unlearnt)

    @property
    def reduction(self) -> Reduction:
        """What a step's loss is the mean of."""
        return self.declared.settings.loss_reduction if self.loss.per_pair is None else "pair"

    def corpus(self, mixture: Sequence[MixtureItem], max_length: int) -> Corpus:
        """The mixture's examples, rendered, cut at `max_length` tokens and weighted; equal on every rank of a stage."""
        selection = self.select(mixture, max_length)
        tell = throttled(self.context.progress)

        def write(folder: Path) -> None:
            report = lambda done, total: tell(Progress(done, total, "example", "weighing"))  # noqa: E731
            corpus.write(selection, self.weighing, folder, report)

        folder = self.context.folder / CORPUS / self.key(selection)
        with explained(self.context.folder):
            flat.once(folder, write, self.waiting)
        return corpus.read(folder)

    def select(self, mixture: Sequence[MixtureItem], max_length: int) -> Selection:
        """The mixture's examples, rendered and cut."""
        if any(map(is_beside, mixture)):
            mixture = settled(mixture, lambda item: len(self.renderings.of(item).rows))
        chosen = [self.renderings.of(item) for item in mixture]
        self.contents.update({one.name: one.content for one in chosen})
        if self.loss.per_pair is None:
            return Selection.of(chosen, max_length)
        rejected = [self.renderings.of(item, rejected=True) for item in mixture]
        return Selection.paired(chosen, rejected, max_length)

    def key(self, selection: Selection) -> str:
        """Of the corpus that the selection becomes in this stage."""
        rows = [(one.rendering.key, sha256(one.rows.tobytes()).hexdigest()) for one in selection.mixture]
        settings = self.declared.settings
        return digest([rows, self.declared.loss, settings.max_length, self.reduction, settings.end_of_turn])

    def waiting(self) -> None:
        """Say why nothing moves."""
        self.context.progress(Progress(0, 1, "example", "waits for another process that renders them"))

    def order(self, rows: Corpus) -> Order:
        """Which examples are trained on, in order: the stage's own epochs, or as many as its budget asks for."""
        settings, seed, n = self.declared.settings, self.declared.seed, len(rows)
        budget = self.declared.budget
        if budget is None:
            trained = np.setdiff1d(np.arange(n), self.held_out(rows))
            return trained[batches.by_examples(len(trained), examples_in(len(trained), settings.epochs), seed)]
        total = self.total(budget)
        if budget.unit == "tokens":
            return batches.by_tokens(rows.lengths, total, seed)
        return batches.by_examples(n, total * settings.batch_size if budget.unit == "steps" else total, seed)

    def held_out(self, rows: Corpus) -> Order:
        """Which examples are not trained on, but looked at; none unless the stage may stop early."""
        stopping = self.declared.settings.early_stopping
        return np.empty(0, dtype=np.int64) if stopping is None else held_out(rows, stopping)

    def total(self, budget: Budget) -> int:
        """What the matched stages train on together, in the budget's unit."""
        total = 0
        for stage in budget.stages:
            lengths = self.weighing.lengths(self.select(stage.mixture, stage.max_length))
            examples = examples_in(len(lengths), stage.epochs)
            if budget.unit == "tokens":
                total += examples_in(int(lengths.sum()), stage.epochs)
            else:
                total += examples if budget.unit == "examples" else math.ceil(examples / stage.batch_size)
        return total
