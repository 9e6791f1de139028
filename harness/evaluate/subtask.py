"""One lm-eval task: its questions in order, and its filters and scorers on one question at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from statistics import fmean
from typing import Any

from harness.api import LmEvalTask
from harness.canonical import Json
from harness.engines.protocol import Answer, Generation
from harness.errors import UserError
from harness.evaluate.edits import edits, words
from harness.evaluate.prompts import Prompts
from harness.evaluate.questions import Question, TaskScores, plain

FEWSHOT_SEED = 1234
"""lm-eval's own: which examples are shown belongs to the protocol, not to the run."""


class Subtask:
    """A task of lm-eval: the benchmark itself, or one of the group that is the benchmark."""

    def __init__(self, name: str, task: Any, declared: LmEvalTask, limit: int | None) -> None:
        self.name = name
        self._task = task
        self._declared = declared
        self._limit = limit
        if declared.shots is not None:
            task.set_config("num_fewshot", declared.shots)
        filters = [ensemble.name for ensemble in self._filters]
        if declared.filter not in filters:
            raise UserError(
                f"the task {name} has no filter {declared.filter!r}", f"it has {', '.join(map(str, filters))}"
            )

    def __len__(self) -> int:
        """How many questions it asks."""
        return self._size

    def questions(self, *, grouped: bool) -> list[Question]:
        """All, or the first `limit`, in the task's order; with the task's name in their ids where it is `grouped`."""
        chat = self._declared.chat
        self._task.set_fewshot_seed(FEWSHOT_SEED)
        self._task.build_all_requests(
            limit=self._limit,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            chat_template=Prompts.context if chat else None,
        )
        by_doc: dict[int, list[Any]] = defaultdict(list)
        for instance in self._task.instances:
            by_doc[instance.doc_id].append(instance)
        found = []
        for index, instances in sorted(by_doc.items()):
            ordered = tuple(sorted(instances, key=lambda instance: int(instance.idx)))
            place = f"{self.name}/{index}" if grouped else index
            found.append(Question(self.name, index, place, ordered[0].doc, ordered))
        return found

    def target(self, question: Question) -> Json:
        """What the task takes for right: a text, or the place of a choice."""
        return plain(self._task.doc_to_target(question.doc))

    def score(self, question: Question, answers: Sequence[Answer], *, share: float) -> TaskScores:
        """What the task makes of the answers; `share` is what a sample of it weighs. Whatever it raises is raised."""
        responses = iter(map(_response, answers))
        for n, instance in enumerate(question.instances):
            instance.resps = [next(responses) for _ in question.ids_of(n)]
        values: dict[str, float] = {}
        weights: dict[str, float] = {}
        inputs: dict[str, Any] = {}
        extracted: dict[str, Any] = {}
        for ensemble in self._filters:
            ensemble.apply(list(question.instances))
            results = [instance.filtered_resps[ensemble.name] for instance in question.instances]
            for metric, found in self._task.process_results(question.doc, results).items():
                numbers, weight = self._numbers(metric, found)
                values |= {f"{name},{ensemble.name}": number for name, number in numbers.items()}
                weights |= {f"{name},{ensemble.name}": share * weight for name in numbers if share * weight != 1}
                if not numbers:
                    inputs[f"{metric},{ensemble.name}"] = found
            if isinstance(answers[0], Generation):
                extracted[ensemble.name] = plain(results[0] if len(results) == 1 else results)
        unparsed = extracted.get(self._declared.filter) in self._fallbacks
        return TaskScores(values, weights, extracted, unparsed, inputs=inputs)

    def _numbers(self, metric: str, found: Any) -> tuple[dict[str, float], float]:
        """A sample's numbers of which the metric is the mean, and what they weigh; none where it is no mean."""
        from lm_eval.api.metrics import mean, ter

        aggregation = self._task.aggregation().get(metric, mean)
        if aggregation is ter:
            made, length = edits(*found)
            if not length:
                raise ValueError("the reference has no words, and so no edit rate")
            return {metric: 100 * made / length, f"{metric}/100": made / length}, length / self._mean_words
        if aggregation is not mean or not isinstance(plain(found), int | float):
            return {}, 1.0
        if not isfinite(found):
            raise ValueError(f"{metric} is {found}")
        return {metric: float(found)}, 1.0

    def aggregate(self, name: str, inputs: Sequence[Any]) -> float:
        """lm-eval's own number for a `metric,filter` that is no mean over samples."""
        return float(self._task.aggregation()[name.split(",", maxsplit=1)[0]](list(inputs)))

    @property
    def _filters(self) -> Sequence[Any]:
        filters: Sequence[Any] = self._task._filters  # noqa: SLF001 - lm-eval offers no other way
        return filters

    @cached_property
    def _fallbacks(self) -> list[Any]:
        """What the filters of the benchmark's number give where they find nothing."""
        ensemble = next(ensemble for ensemble in self._filters if ensemble.name == self._declared.filter)
        made = [make() for make in ensemble.filters]
        return [filter_.fallback for filter_ in made if hasattr(filter_, "fallback")]

    @cached_property
    def _size(self) -> int:
        docs = len(self._task.eval_docs)  # lm-eval processes them anew whenever it is asked for them
        return min(docs, self._limit or docs)

    @cached_property
    def _mean_words(self) -> float:
        """Words of a reference, over all that is asked."""
        docs = self._task.doc_iterator(limit=self._limit)
        return fmean(words(self._task.doc_to_target(doc)) for _, doc in docs)


def _response(answer: Answer) -> str | tuple[float, bool]:
    return answer.text if isinstance(answer, Generation) else (answer.logprob, answer.greedy)
