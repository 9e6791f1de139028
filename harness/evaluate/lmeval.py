"""lm-eval as the task library: a task, a group or a tag of it as one benchmark, asked one sample at a time."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.aggregates import means
from harness.api import LmEvalTask
from harness.canonical import Json
from harness.engines.protocol import Answer
from harness.errors import HarnessError, UserError
from harness.evaluate.questions import Question, TaskScores
from harness.evaluate.subtask import Subtask
from harness.evaluate.taskdata import declared_data
from harness.evaluate.tasks import find_task
from harness.jobs import DataDeclaration

Scored = tuple[Question, TaskScores]


class TaskBenchmark:
    """An lm-eval task under one protocol, or all tasks of a group or tag as one benchmark.

    The tasks of a group count by their sizes where the group says so (`weight_by_size`), and all the same elsewhere;
    samples carry the weights that make it so, and the benchmark's number is their mean.
    """

    def __init__(
        self, task: LmEvalTask, data: Sequence[DataDeclaration], data_root: Path | None, *, limit: int | None
    ) -> None:
        self._task = task
        with declared_data(task, data, data_root), _explained(task):
            tasks, self._by_size = _load(task)
        self._subtasks = {name: Subtask(name, loaded, task, limit) for name, loaded in tasks.items()}

    def questions(self) -> list[Question]:
        """All questions, or the first `limit` of every task, in the tasks' order. Needs no tokenizer."""
        grouped = len(self._subtasks) > 1
        with _explained(self._task):
            return [question for task in self._subtasks.values() for question in task.questions(grouped=grouped)]

    def target(self, question: Question) -> Json:
        """What the task takes for right: a text, or the place of a choice."""
        return self._subtasks[question.task].target(question)

    def score(self, question: Question, answers: Sequence[Answer]) -> TaskScores:
        """The task's filters and scorers on one question, answers in the order of its `request_ids`.

        Whatever they raise is raised, and ValueError for a number that is none.
        """
        task = self._subtasks[question.task]
        alike = self._by_size or len(self._subtasks) == 1
        return task.score(question, answers, share=1.0 if alike else 1 / len(task))

    def metrics(self, scored: Iterable[Scored]) -> dict[str, Json]:
        """`metric,filter` to `value` and `n`, of the whole and, as `task/metric,filter`, of each task of a group.

        What is no mean over samples is computed by lm-eval for each task; where that fails, its value is None and
        `error` says why. Raises UserError where the benchmark's own number is not among the means.
        """
        by_task: dict[str, list[TaskScores]] = {name: [] for name in self._subtasks}
        for question, scores in scored:
            by_task[question.task].append(scores)
        whole = _means([scores for of in by_task.values() for scores in of])
        if self._task.score not in whole:
            found = ", ".join(sorted(whole))
            raise UserError(f"the task {self._task.task} has no {self._task.score}", f"its metrics are {found}")
        corpus = {name: _corpus(self._subtasks[name], of) for name, of in by_task.items()}
        whole |= self._averaged(list(corpus.values()))
        if len(by_task) > 1:
            for task, of in by_task.items():
                whole |= {f"{task}/{name}": metric for name, metric in (_means(of) | corpus[task]).items()}
        return dict(sorted(whole.items()))

    def _averaged(self, parts: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
        """Each metric's mean over the tasks that have it; the metric itself where there is one task."""
        if len(parts) == 1:
            return dict(parts[0])
        averaged: dict[str, Json] = {}
        for name in {name for part in parts for name in part}:
            of = [part[name] for part in parts if name in part]
            errors = [metric["error"] for metric in of if "error" in metric]
            sizes = [metric["n"] if self._by_size else 1 for metric in of]
            value = None if errors else sum(m["value"] * n for m, n in zip(of, sizes, strict=True)) / sum(sizes)
            averaged[name] = _metric(value, sum(metric["n"] for metric in of), next(iter(errors), None))
        return averaged


@contextmanager
def _explained(task: LmEvalTask) -> Iterator[None]:
    """Whatever a task's code raises before there are answers, as one line."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise UserError(
            f"lm-eval cannot make the questions of {task.task}: {what}",
            "check that its data have the splits, columns and examples that its YAML asks for; --debug tells more",
        ) from error


def _load(declared: LmEvalTask) -> tuple[dict[str, Any], bool]:
    """The task, or all of the group or tag, by name; and whether they count by their sizes."""
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import env

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # its warnings advise people who write tasks
    if not hasattr(env.from_string, "cache_info"):  # it compiles a template anew for every field of every example
        env.from_string = lru_cache(maxsize=4096)(env.from_string)
    manager = TaskManager(include_path=[str(f) for f in find_task(declared).folders], include_defaults=False)
    loaded = manager.load([declared.task])
    group = loaded.get("groups", {}).get(declared.task)
    averages = (group.aggregate_metric_list or ()) if group else ()
    by_size = any(average.metric == declared.metric and average.weight_by_size for average in averages)
    return loaded["tasks"], by_size


def _means(scored: Iterable[TaskScores]) -> dict[str, Json]:
    return means((scores.values, scores.weights) for scores in scored)


def _corpus(task: Subtask, scored: Sequence[TaskScores]) -> dict[str, Json]:
    """The task's metrics that are no means, from all its samples together."""
    inputs: dict[str, list[Any]] = defaultdict(list)
    for scores in scored:
        for name, value in scores.inputs.items():
            inputs[name].append(value)
    found: dict[str, Json] = {}
    for name, of in inputs.items():
        try:
            found[name] = _metric(task.aggregate(name, of), len(of))
        except Exception as error:  # noqa: BLE001 - a task's code is anybody's: it may cost its number, no more
            found[name] = _metric(None, len(of), f"{type(error).__name__}: {error}")
    return found


def _metric(value: float | None, n: int, error: str | None = None) -> Json:
    """A number over `n` samples, or why there is none."""
    if value is not None and not math.isfinite(value):
        value, error = None, f"the number is {value}"
    return {"value": value, "n": n} | ({"error": error} if error else {})
