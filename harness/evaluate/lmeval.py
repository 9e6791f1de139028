"""lm-eval as the task library: its prompts, filters and scorers, asked one sample at a time."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.api import Evaluator, LmEvalTask
from harness.canonical import Json, digest
from harness.engines.protocol import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Sampling,
)
from harness.errors import UserError
from harness.evaluate.prompts import Prompts
from harness.evaluate.taskdata import declared_data
from harness.evaluate.tasks import find_task
from harness.jobs import Evaluate

DEFAULT_MAX_NEW_TOKENS = 256
"""lm-eval's own, for tasks that do not say."""

FEWSHOT_SEED = 1234
"""lm-eval's own: which examples are shown belongs to the protocol, not to the run."""

Request = GenerateRequest | LoglikelihoodRequest
Answer = Generation | Loglikelihood


@dataclass(frozen=True)
class Question:
    """A document of the task and all that is asked about it: choices to score, or answers to draw."""

    index: int
    doc: Mapping[str, Any]
    requests: tuple[Request, ...]
    instances: tuple[Any, ...] = field(repr=False)
    """lm-eval's; each takes `repeats` of the requests, in order."""


@dataclass(frozen=True)
class Scores:
    """What the task makes of a question's answers."""

    values: Mapping[str, Any]
    """`metric,filter` to what the task's aggregation takes, mostly a number."""
    extracted: Mapping[str, Any]
    """Filter to what it left of the answer; empty for tasks that score choices."""
    unparsed: bool
    """Whether the filter that makes the benchmark's number found nothing."""


class Benchmark:
    """One lm-eval task under one protocol."""

    def __init__(self, declared: Evaluate, evaluator: Evaluator, data_root: Path | None) -> None:
        self._declared = declared
        task = evaluator.task
        assert isinstance(task, LmEvalTask)
        self.name = task.task
        self.score_name = task.score
        """The number that is the benchmark's score."""
        with declared_data(task, declared.data, data_root):
            self._task = _load(task)
        filters = [ensemble.name for ensemble in self._task._filters]  # noqa: SLF001 - lm-eval offers no other way
        if task.filter not in filters:
            raise UserError(
                f"the task {self.name} has no filter {task.filter!r}",
                f"it has {', '.join(filters)}",
            )
        self._main_filter = task.filter

    def questions(self, prompts: Prompts) -> list[Question]:
        """All questions, or the first `limit`, in the task's order."""
        chat = prompts.template_digest is not None
        self._task.build_all_requests(
            limit=self._declared.limit,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            chat_template=prompts.context if chat else None,
        )
        by_doc: dict[int, list[Any]] = defaultdict(list)
        for instance in self._task.instances:
            by_doc[instance.doc_id].append(instance)
        return [self._question(index, sorted(of, key=lambda i: i.idx), prompts) for index, of in sorted(by_doc.items())]

    def target(self, question: Question) -> Json:
        """What the task takes for right: a text, or the place of a choice."""
        return plain(self._task.doc_to_target(question.doc))

    def score(self, question: Question, answers: Sequence[Answer]) -> Scores:
        """The task's filters and scorers on one question. Whatever they raise is raised."""
        responses = [_response(answer) for answer in answers]
        repeats = len(responses) // len(question.instances)
        for n, instance in enumerate(question.instances):
            instance.resps = responses[n * repeats : (n + 1) * repeats]
        values, extracted = {}, {}
        for ensemble in self._task._filters:  # noqa: SLF001
            ensemble.apply(list(question.instances))
            results = [instance.filtered_resps[ensemble.name] for instance in question.instances]
            for metric, value in self._task.process_results(question.doc, results).items():
                values[f"{metric},{ensemble.name}"] = value
            if isinstance(answers[0], Generation):
                extracted[ensemble.name] = plain(results[0] if len(results) == 1 else results)
        return Scores(values, extracted, unparsed=extracted.get(self._main_filter) in self._fallbacks)

    def aggregate(self, name: str, values: Sequence[Any]) -> float:
        """The task's own aggregation of a `metric,filter`; the mean where it has none."""
        from lm_eval.api.metrics import mean

        return float(self._task.aggregation().get(name.split(",", maxsplit=1)[0], mean)(list(values)))

    @cached_property
    def _fallbacks(self) -> list[Any]:
        """What the filters of the benchmark's number give where they find nothing."""
        ensemble = next(e for e in self._task._filters if e.name == self._main_filter)  # noqa: SLF001
        made = [make() for make in ensemble.filters]
        return [filter_.fallback for filter_ in made if hasattr(filter_, "fallback")]

    def _question(self, index: int, instances: Sequence[Any], prompts: Prompts) -> Question:
        requests: list[Request] = []
        for instance in instances:
            if instance.request_type == "generate_until":
                context, settings = instance.args
                ids = prompts.prompt(context)
                for repeat in range(instance.repeats or 1):
                    sampling = self._sampling(settings, prompts, [index, instance.idx, repeat])
                    requests.append(GenerateRequest(f"{index}.{instance.idx}.{repeat}", ids, sampling))
            elif instance.request_type == "loglikelihood":
                requests.append(LoglikelihoodRequest(f"{index}.{instance.idx}", *prompts.pair(*instance.args)))
            else:
                raise UserError(
                    f"the task {self.name} asks for {instance.request_type}, which no engine here answers",
                    "use a task with generate_until, loglikelihood or multiple_choice",
                )
        return Question(index, instances[0].doc, tuple(requests), tuple(instances))

    def _sampling(self, settings: Mapping[str, Any], prompts: Prompts, place: Json) -> Sampling:
        from lm_eval.models.utils import normalize_gen_kwargs

        known = dict(normalize_gen_kwargs(dict(settings), DEFAULT_MAX_NEW_TOKENS))
        heat = float(known.pop("temperature", 0.0))
        temperature = heat if known.pop("do_sample") else 0.0
        sampling = Sampling(
            max_new_tokens=known.pop("max_gen_toks"),
            temperature=temperature,
            top_p=float(known.pop("top_p", 1.0)),
            stop=tuple(text for text in known.pop("until") if text),
            end_ids=prompts.end_ids,
            seed=int(digest([self._declared.seed, place])[:8], 16) if temperature > 0 else None,
        )
        if known:
            raise UserError(
                f"the task {self.name} sets {', '.join(sorted(known))} for generation",
                "only until, max_gen_toks, do_sample, temperature and top_p mean the same to every engine",
            )
        return sampling


def plain(value: Any) -> Json:
    """A value of lm-eval or numpy as JSON; what has no JSON form as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _load(task: LmEvalTask) -> Any:
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # its warnings advise people who write tasks
    manager = TaskManager(include_path=str(find_task(task).yaml.parent), include_defaults=False)
    loaded = manager.load([task.task])["tasks"][task.task]
    if task.shots is not None:
        loaded.set_config("num_fewshot", task.shots)
    loaded.set_fewshot_seed(FEWSHOT_SEED)
    return loaded


def _response(answer: Answer) -> str | tuple[float, bool]:
    return answer.text if isinstance(answer, Generation) else (answer.logprob, answer.greedy)
