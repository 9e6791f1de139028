"""All items of a benchmark, whatever protocol asks them: what decontamination looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.api import Benchmark, Item, LmEvalTask
from harness.data.hubrows import reader
from harness.jobs import BenchmarkItems


def items_of(task: LmEvalTask | Benchmark, declared: BenchmarkItems, data_root: Path | None) -> Sequence[Item]:
    """The items, called as its samples call them; of an lm-eval task its documents, with what it takes for right.

    Raises UserError for data that cannot be had, or has changed since it was declared.
    """
    if isinstance(task, Benchmark):
        return task.questions.items(reader(task.questions.data, declared.data, data_root))
    from harness.evaluate.lmeval import TaskBenchmark

    benchmark = TaskBenchmark(task, declared.data, data_root, limit=None)
    return [
        Item(str(question.id), {"document": dict(question.doc), "target": benchmark.target(question)})
        for question in benchmark.questions()
    ]
