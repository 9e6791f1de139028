"""The respond jobs of one model: every benchmark asks it through one engine, and each is done when its items are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.api import Benchmark, LmEvalTask
from harness.canonical import Json, canonical, file_digest
from harness.context import Context, Progress
from harness.data.hubrows import reader
from harness.engines.pool import Engines
from harness.engines.protocol import Engine, Tokenizer
from harness.engines.session import Seat, converse
from harness.engines.stored import Responses
from harness.evaluate.arrivals import Arrivals
from harness.evaluate.asked import write_asked
from harness.evaluate.interviews import Interview, checked, of_questions, of_task
from harness.evaluate.lmeval import TaskBenchmark
from harness.evaluate.prompts import Prompts
from harness.evaluate.unencoded import Unencoded
from harness.jobs import ANSWERS, ASKED, Respond


@dataclass(frozen=True)
class Assignment:
    """One respond job: what it declares, the benchmark behind it, and where it works."""

    declared: Respond
    task: LmEvalTask | Benchmark
    context: Context
    arriving: Callable[[int], None] = lambda _: None
    """Told how many items there are, once their answers can be read as they come (`harness.evaluate.arrivals`)."""


def respond(assignments: Sequence[Assignment], engines: Engines) -> Iterator[tuple[Assignment, Json]]:
    """Ask everything that the assignments want of one model; yields each with its `result` and `measured` once done.

    All have the same parent `model` and engine settings. A second attempt asks only for what the first did not store.
    Raises UserError for a task, model or data that do not fit together.
    """
    first = assignments[0]
    started = time.perf_counter()
    model = first.context.parents["model"]
    settings = first.declared.engine
    engine = engines.open(settings, model / "model", first.context.runtime, first.context.notice)
    starting = time.perf_counter() - started
    with ExitStack() as files:
        works = []
        for assignment in assignments:
            path = assignment.context.folder / "responses.jsonl"
            responses = files.enter_context(Responses(path, settings=settings, model_key=model.name))
            works.append(_Work(assignment, engine, responses))
            files.callback(works[-1].close)
        works.sort(key=_Work.turn)
        for work in works:
            work.announce()
        by_seat = {id(work.seat): work for work in works}
        for seat in converse(engine, [work.seat for work in works], answered=lambda seat: by_seat[id(seat)].tell()):
            measured = {
                "seconds": seat.seconds + starting,
                "engine": settings.name,
                "engine_start_seconds": starting,
            }
            starting = 0.0  # the first one done pays for it
            work = by_seat[id(seat)]
            yield work.assignment, work.outcome(measured)


def prompts_of(
    task: LmEvalTask | Benchmark, tokenizer: Tokenizer | None, unable: Callable[[], str | None] = lambda: None
) -> Prompts:
    """What brings the task's questions to an engine: as ids, or in words where only a server has the tokenizer.

    `unable` says why the engine gives no log-likelihoods, where it does not.
    """
    chat = isinstance(task, LmEvalTask) and task.chat
    if tokenizer is not None:
        return Prompts(tokenizer, chat=chat)
    who = task.task if isinstance(task, LmEvalTask) else type(task.questions).__name__
    return Unencoded(who, unable, chat=chat)


def interview(declared: Respond, task: LmEvalTask | Benchmark, prompts: Prompts, data_root: Path | None) -> Interview:
    """All that a respond job asks of a model."""
    if isinstance(task, LmEvalTask):
        benchmark = TaskBenchmark(task, declared.data, data_root, limit=declared.limit)
        return Interview(of_task(benchmark, prompts, declared.seed), prompts)
    items = checked(task.questions.items(reader(task.questions.data, declared.data, data_root)))[: declared.limit]
    return Interview(of_questions(task.questions, items, prompts, declared.seed), prompts, len(items))


class _Work:
    """One assignment under way."""

    def __init__(self, assignment: Assignment, engine: Engine, responses: Responses) -> None:
        self.assignment = assignment
        prompts = prompts_of(assignment.task, engine.tokenizer, engine.why_no_likelihoods)
        self.interview = interview(assignment.declared, assignment.task, prompts, assignment.context.data_root)
        self.seat = Seat(self.interview, responses)
        self._arrivals: Arrivals | None = None
        if self.interview.items is not None:
            self._arrivals = Arrivals(assignment.context.folder, assignment.declared, self.interview.items)

    def turn(self) -> float:
        """When it begins: what may go on after an answer first, the few items before the many, and tasks at the end.

        Else the last conversations would go on alone, with nothing left to fill the engine.
        """
        return math.inf if self.interview.items is None else self.interview.items

    def announce(self) -> None:
        """Tell that answers will be coming, where they can be read as they come."""
        if self.interview.items is not None:
            self.assignment.arriving(self.interview.items)

    def tell(self) -> None:
        """How far it is, and what it has."""
        if self._arrivals is not None:
            self._arrivals.tell(self.interview.records.values())
        total = max(self.interview.total, 1)
        self.assignment.context.progress(Progress(self.interview.answered, total, "item"))

    def close(self) -> None:
        """Give back what it holds."""
        if self._arrivals is not None:
            self._arrivals.close()

    def outcome(self, measured: dict[str, Json]) -> Json:
        """Write the answers; what the job found and took."""
        folder = self.assignment.context.folder
        path = folder / ANSWERS
        records = self.interview.in_order()
        path.write_text("".join(canonical(record) + "\n" for record in records), encoding="utf-8")
        write_asked(folder / ASKED, self.interview.asked())
        if self._arrivals is not None:
            self._arrivals.end()
        tokens, seconds = self.seat.responses.tokens_generated, measured["seconds"]
        return {
            "result": {
                "items": len(records),
                "prompt_tokens": self.interview.prompt_tokens,
                "template_digest": self.interview.prompts.template_digest,
                "bos_count_max": self.interview.bos_count_max,
                "answers_sha256": file_digest(path),
            },
            "measured": {
                **measured,
                "requests_asked": self.seat.asked,
                "requests_stored": self.seat.stored,
                "tokens_generated": tokens,
                "tokens_per_second": tokens / seconds if seconds else 0.0,
            },
        }
