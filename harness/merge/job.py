"""The `merge` job: the models of several stages become one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from harness.api import Combination, DataSource, Merged, Merger
from harness.canonical import Json, share
from harness.context import Context, Progress
from harness.jobs import Merge
from harness.machine import failures_named
from harness.merge.members import merge_members
from harness.merge.stream import Member, Merging
from harness.mergers import BASE, FISHER
from harness.store import MANIFEST

ADAPTER = "adapter"
"""Folder beside `model/` in which a stage leaves its adapters."""


def merge(declared: Merge, merger: Merger, sources: Mapping[str, DataSource], context: Context) -> Json:
    """Leave the merged model of the parents in `context.folder/model`, with the first one's tokenizer and config.

    `sources` say where held-out data lies, for mergers that choose among the models by it.
    Raises UserError for parents whose tensors differ in name, shape or kind.
    """
    started = time.perf_counter()
    target = context.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    parents = [(stage, context.parents[stage]) for stage, _ in declared.weights]
    members = [Member(stage, folder / "model", folder / ADAPTER) for stage, folder in parents]
    base = context.parents[BASE] / "model" if BASE in context.parents else None
    if isinstance(merger, Merged) and merger.by_examples:
        merger = replace(merger, weights=_by_examples([folder for _, folder in parents]))
    fisher = {
        role.removeprefix(FISHER): folder / "model"
        for role, folder in context.parents.items()
        if role.startswith(FISHER)
    }
    seed, losses = declared.seed or 0, dict[str, Json]()
    shares: Json = None
    with failures_named("merging", context.folder):
        if declared.held_out and isinstance(merger, Combination):
            from harness.merge.choosing import choose
            from harness.train.scoring import conversations

            reader = parents[0][1] / "model"
            rows = conversations(declared.held_out, sources, declared.max_length or 0, reader, context)
            chosen = choose(Merging(merger, tuple(members), base, seed, fisher), rows, context)
            merger, losses = chosen.combination, {"held_out_losses": chosen.told()}
            members = [member for stage in merger.stages for member in members if member.name == stage]
        if isinstance(merger, Merged):
            shares = {stage: share(weight) for stage, weight in zip(merger.stages, merger.shares, strict=True)}
        parameters = merge_members(
            merger,
            members,
            base,
            target,
            seed=seed,
            fisher=fisher,
            report=lambda done, total: context.progress(Progress(done, total, "tensor")),
        )
    return {
        "result": {"models": len(members), "parameters": parameters, "shares": shares, **losses},
        "measured": {"seconds": time.perf_counter() - started},
    }


def _by_examples(jobs: Sequence[Path]) -> tuple[Fraction, ...]:
    """Each stage's share of the examples that all of them were trained on."""
    manifests = [json.loads((job / MANIFEST).read_text(encoding="utf-8")) for job in jobs]
    examples: list[int] = [manifest["result"]["examples"] for manifest in manifests]
    return tuple(Fraction(n, sum(examples)) for n in examples)
