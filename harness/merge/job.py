"""The `merge` job: the models of several stages become one."""

from __future__ import annotations

import shutil
import time

from harness.api import Combination, MergeKit, Merger
from harness.canonical import Json
from harness.context import Context, Progress
from harness.errors import Failure
from harness.jobs import Merge
from harness.machine import failures_named
from harness.merge.stream import Member, Merging
from harness.merge.vocabulary import check_vocabularies
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
    stages = [stage for stage, _ in declared.weights]
    models = {stage: context.parents[stage] / "model" for stage in stages}
    base = context.parents[BASE] / "model" if BASE in context.parents else None
    with failures_named("merging", context.folder):
        check_vocabularies(models | ({BASE: base} if base else {}))
        if isinstance(merger, MergeKit):
            from harness.merge.mergekit import merge_by_mergekit

            parameters = merge_by_mergekit(merger, models, base, target, declared.seed or 0)
        elif isinstance(merger, Combination):
            members = tuple(Member(stage, models[stage], context.parents[stage] / ADAPTER) for stage in stages)
            report = lambda done, total: context.progress(Progress(done, total, "tensor"))  # noqa: E731
            parameters = Merging(merger, members, base, declared.seed or 0).write(target, report)
        else:
            raise Failure(f"this worker knows no merger {type(merger).__name__}", "update the harness")
    return {
        "result": {"models": len(models), "parameters": parameters},
        "measured": {"seconds": time.perf_counter() - started},
    }
