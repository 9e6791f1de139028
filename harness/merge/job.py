"""The `merge` job: the models of several stages become one."""

from __future__ import annotations

import shutil
import time

from harness.api import Merger
from harness.canonical import Json
from harness.context import Context, Progress
from harness.jobs import Merge
from harness.machine import failures_named
from harness.merge.members import merge_members
from harness.merge.stream import Member
from harness.mergers import BASE

ADAPTER = "adapter"
"""Folder beside `model/` in which a stage leaves its adapters."""


def merge(declared: Merge, merger: Merger, context: Context) -> Json:
    """Leave the merged model of the parents in `context.folder/model`, with the first one's tokenizer and config.

    Raises UserError for parents whose tensors differ in name, shape or kind.
    """
    started = time.perf_counter()
    target = context.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    parents = [(stage, context.parents[stage]) for stage, _ in declared.weights]
    members = [Member(stage, folder / "model", folder / ADAPTER) for stage, folder in parents]
    base = context.parents[BASE] / "model" if BASE in context.parents else None
    with failures_named("merging", context.folder):
        parameters = merge_members(
            merger,
            members,
            base,
            target,
            seed=declared.seed or 0,
            report=lambda done, total: context.progress(Progress(done, total, "tensor")),
        )
    return {
        "result": {"models": len(members), "parameters": parameters},
        "measured": {"seconds": time.perf_counter() - started},
    }
