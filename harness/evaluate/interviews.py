"""Interviews: a benchmark asks one model about its items, round by round, as one party of an engine's session."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.api import Ask, Item, Questions, Reply
from harness.canonical import Json, digest
from harness.engines.protocol import (
    Answer,
    GenerateRequest,
    Generation,
    LoglikelihoodRequest,
    Request,
    Sampling,
    Told,
    Unanswered,
)
from harness.errors import UserError
from harness.evaluate.lmeval import TaskBenchmark
from harness.evaluate.prompts import Prompts
from harness.evaluate.questions import plain
from harness.evaluate.requests import requests

ENCODED_TOGETHER = 128
"""Questions of an lm-eval task: enough for all cores, and few enough that the engine does not wait for them."""

Rounds = Generator[Sequence[Request], Sequence[Answer], None]


@dataclass
class Subject:
    """One item under questioning."""

    id: str
    content: Json
    rounds: Rounds
    answers: list[list[Answer]] = field(default_factory=list)
    """By round, in the order asked."""
    prompts: list[Json] = field(default_factory=list)
    """All that was asked: its token ids, or itself where the engine has no tokenizer."""
    asked: list[list[Json]] = field(default_factory=list)
    """The same as people read it, by round."""
    waiting: dict[str, Told | None] = field(default_factory=dict)
    """The round under way: request ids in order, with the answers that have come."""
    unanswered: str | None = None
    """Why a request of it cannot be answered."""

    def record(self) -> Json:
        """Its line of answers.jsonl. What was asked is left out: those that score have it from the benchmark."""
        return {
            "id": self.id,
            "doc_sha256": digest(self.content),
            "prompt_sha256": digest(self.prompts),
            "rounds": [[_record(answer) for answer in answers] for answers in self.answers],
            **({} if self.unanswered is None else {"unanswered": self.unanswered}),
        }


class Interview:
    """All items of a benchmark, asked of one model."""

    def __init__(self, subjects: Iterable[Subject], prompts: Prompts, items: int | None = None) -> None:
        self._subjects = subjects
        self.prompts = prompts
        self.items = items
        """How many there are; None where that shows only as they are asked."""
        self._of: dict[str, Subject] = {}
        self._asked: list[Subject] = []
        self.records: dict[str, Json] = {}
        """Of the items whose last answer has come, by id, in the order in which they were answered."""
        self.prompt_tokens = 0
        self.bos_count_max = 0
        self.answered = 0
        """Items whose last answer has come."""

    def begin(self) -> Iterator[Request]:
        """The first round of every item."""
        for subject in self._subjects:
            self._asked.append(subject)
            yield from self._go_on(subject, None)
        if not self._asked:
            raise UserError("the benchmark has no items", "check its data")

    def take(self, request: str, answer: Told) -> Iterable[Request]:
        """Note an answer; where it ends its round, the next round."""
        subject = self._of.pop(request)
        subject.waiting[request] = answer
        if isinstance(answer, Unanswered):
            subject.unanswered = answer.reason
        else:
            self.prompt_tokens += answer.prompt_tokens or 0
        if any(one is None for one in subject.waiting.values()):
            return ()
        if subject.unanswered is not None:
            return self._end(subject)
        subject.answers.append([one for one in subject.waiting.values() if isinstance(one, Answer)])
        return self._go_on(subject, subject.answers[-1])

    @property
    def total(self) -> int:
        """Items so far."""
        return len(self._asked)

    def in_order(self) -> list[Json]:
        """The records, in the benchmark's order."""
        return [self.records[subject.id] for subject in self._asked]

    def asked(self) -> Iterator[tuple[str, list[list[Json]]]]:
        """Item by item what was asked, by round, in the benchmark's order."""
        return ((subject.id, subject.asked) for subject in self._asked)

    def _go_on(self, subject: Subject, answers: Sequence[Answer] | None) -> Sequence[Request]:
        try:
            requests = next(subject.rounds) if answers is None else subject.rounds.send(answers)
        except StopIteration:
            return self._end(subject)
        subject.waiting = {request.id: None for request in requests}
        if not requests or len(subject.waiting) < len(requests) or subject.waiting.keys() & self._of.keys():
            raise UserError(f"item {subject.id} asks nothing, or two things under one id", "mend the benchmark")
        subject.asked.append([request.asked for request in requests])
        for request in requests:
            self._of[request.id] = subject
            ids = request_ids(request)
            subject.prompts.append(ids or request.asked)
            self.prompt_tokens += len(ids)
            self.bos_count_max = max(self.bos_count_max, self.prompts.bos_count(ids))
        return requests

    def _end(self, subject: Subject) -> Sequence[Request]:
        self.records[subject.id] = subject.record()
        subject.prompts, subject.answers = [], []
        self.answered += 1
        return ()


def of_task(benchmark: TaskBenchmark, prompts: Prompts, seed: int) -> Iterator[Subject]:
    """The subjects of an lm-eval task: each asks all at once."""

    def rounds(asked: Sequence[Request]) -> Rounds:
        yield asked

    questions = benchmark.questions()
    for start in range(0, len(questions), ENCODED_TOGETHER):
        lot = questions[start : start + ENCODED_TOGETHER]
        for question, asked in zip(lot, requests(lot, prompts, seed), strict=True):
            yield Subject(str(question.id), plain(question.doc), rounds(asked))


def of_questions(questions: Questions, items: Sequence[Item], prompts: Prompts, seed: int) -> Iterator[Subject]:
    """The subjects of a plug-in's questions."""
    for item in items:
        yield Subject(item.id, plain(item.content), _rounds(questions, item, prompts, seed))


def checked(items: Sequence[Item]) -> list[Item]:
    """The items, every one under an id of its own. Raises UserError otherwise."""
    if len({item.id for item in items}) < len(items):
        raise UserError("two items of a benchmark have one id", "mend its `items`")
    return list(items)


def reply(record: Mapping[str, Any]) -> Reply:
    """An answer's record as scorers see it."""
    return Reply(record["text"], record["finish"], record["tokens"], record["prompt_cut"])


def request_ids(request: Request) -> tuple[int, ...]:
    """All token ids of a request."""
    if isinstance(request, LoglikelihoodRequest):
        return request.context_ids + request.continuation_ids
    return request.prompt_ids


def _rounds(questions: Questions, item: Item, prompts: Prompts, seed: int) -> Rounds:
    asking, number = questions.ask(item), 0
    try:
        asks = next(asking)
        while True:
            answers = yield [_request(ask, item, (number, n), prompts, seed) for n, ask in enumerate(asks)]
            asks = asking.send([reply(_record(answer)) for answer in answers])
            number += 1
    except StopIteration:
        return


def _request(ask: Ask, item: Item, place: tuple[int, int], prompts: Prompts, seed: int) -> GenerateRequest:
    encoded = prompts.of(ask)
    sampling = Sampling(
        max_new_tokens=ask.max_new_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        stop=(*ask.stop, *encoded.stop),
        end_ids=encoded.end_ids,
        seed=int(digest([seed, item.id, *place])[:8], 16) if ask.temperature > 0 else None,
    )
    number, n = place
    prompt = ask.prompt if isinstance(ask.prompt, str) else [asdict(message) for message in ask.prompt]
    name = f"{item.id}.{number}.{n}"
    said = prompt if encoded.sent is None else encoded.sent
    return GenerateRequest(name, encoded.ids, sampling, round=number, asked={"prompt": said})


def _record(answer: Answer) -> dict[str, Json]:
    if isinstance(answer, Generation):
        counts = {"tokens": answer.tokens, "prompt_cut": answer.prompt_cut}
        return {"text": answer.text, "finish": answer.finish, **counts}
    return {"logprob": answer.logprob, "greedy": answer.greedy, "prompt_cut": answer.prompt_cut}
