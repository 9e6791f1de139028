"""Marking: stored answers become scored samples, by an lm-eval task's scorers or by a plug-in's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from harness.aggregates import means
from harness.api import Benchmark, Execute, Item, JudgePrompt, LmEvalTask, Questions, Read, Response, Scores, Scoring
from harness.canonical import Json, digest
from harness.data.hubrows import reader
from harness.engines.protocol import Answer, Generation, Loglikelihood
from harness.errors import Failure, HarnessError, UserError
from harness.evaluate.arrivals import Answers
from harness.evaluate.controls import told_alike
from harness.evaluate.interviews import checked, reply
from harness.evaluate.lmeval import TaskBenchmark
from harness.evaluate.questions import Question, TaskScores, plain
from harness.evaluate.samples import Record, Sample, failed, unanswered
from harness.jobs import Respond

Call = JudgePrompt | Execute


class Calls(Protocol):
    """Whoever judges prompts and runs programs."""

    def expect(self, calls: Sequence[Call]) -> None:
        """What a lot of items wants first; said before anything of it is done."""
        ...

    def submit(self, call: Call) -> Future[Any]:
        """Have it done."""
        ...


class Marking(Protocol):
    """The scoring half of a benchmark at work."""

    def samples(self) -> Iterator[Sample]:
        """Every item, as it is scored; a scorer that fails costs its item, no more."""
        ...

    def settled(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """All samples, in the benchmark's order, once every item has its own."""
        ...

    def metrics(self, samples: Sequence[Sample]) -> dict[str, Json]:
        """Name to `value` and `n`: every number of the benchmark, the score among them where there is one."""
        ...


class TaskMarking:
    """An lm-eval task's filters and scorers."""

    def __init__(self, task: LmEvalTask, asked: Respond, records: Sequence[Record], data_root: Path | None) -> None:
        self._task = TaskBenchmark(task, asked.data, data_root, limit=asked.limit)
        self._questions = self._task.questions()
        self._records = matched(records, [(str(question.id), question.doc) for question in self._questions])

    def samples(self) -> Iterator[Sample]:
        """In the task's order."""
        for question, record in zip(self._questions, self._records, strict=True):
            yield unanswered(record) if "unanswered" in record else self._sample(question, record)

    def settled(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """As they are."""
        return samples

    def metrics(self, samples: Sequence[Sample]) -> dict[str, Json]:
        """Means over samples, and lm-eval's own numbers where a metric is none."""
        pairs = zip(self._questions, samples, strict=True)
        return self._task.metrics(
            [(question, sample.scores) for question, sample in pairs if isinstance(sample.scores, TaskScores)]
        )

    def _sample(self, question: Question, record: Record) -> Sample:
        target = None
        try:
            target = self._task.target(question)
            answers = [_answer(answer) for answer in record["rounds"][0]]
            return Sample(record, target, self._task.score(question, answers))
        except Exception as error:  # noqa: BLE001 - a task's scorer is anybody's code: it may cost its sample, no more
            return failed(record, target, error)


@dataclass(frozen=True)
class Answered:
    """An item with what was said to it, by the model and by its opponent where there is one."""

    record: Record
    response: Response
    opponent: Response | None = None


def answered(
    questions: Questions, answers: Answers, opponent: Sequence[Record] | None, data_root: Path | None
) -> Iterator[list[Answered]]:
    """Stored answers, `opponent`'s too, lot by lot as they come. Raises Failure where they answer other items."""
    asked = answers.declared
    items = checked(questions.items(reader(questions.data, asked.data, data_root)))[: asked.limit]
    contents = {item.id: item.content for item in items}
    theirs = dict(zip(contents, matched(opponent, [*contents.items()]), strict=True)) if opponent is not None else {}
    by_id = {item.id: item for item in items}
    for lot in answers.lots():
        for record in lot:
            _check(record["id"], contents.get(record["id"]), record)
        yield [_together(record, by_id[record["id"]], theirs.get(record["id"])) for record in lot]
    _check_number(answers.records, contents)


def _together(record: Record, item: Item, other: Record | None) -> Answered:
    return Answered(record, Response(item, _rounds(record)), None if other is None else Response(item, _rounds(other)))


class Together:
    """What a plug-in's scorer makes of all its items together, whoever gave them their scores."""

    def __init__(self, benchmark: Benchmark, responses: Sequence[Response], read: Read) -> None:
        self._benchmark, self._read = benchmark, read
        self._by_id = {response.item.id: response for response in responses}

    def settled(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples, in the benchmark's order, with values that none has by itself."""
        scored = [(self._by_id[sample.record["id"]], sample.scores) for sample in samples]
        settled = self._benchmark.scorer.settle(scored, self._read)
        found = [replace(sample, scores=scores) for sample, scores in zip(samples, settled, strict=True)]
        return told_alike(found) if "judge" in self._benchmark.scorer.needs else found

    def metrics(self, samples: Sequence[Sample]) -> dict[str, Json]:
        """Weighted means over samples, and the scorer's own totals."""
        scored = [(self._by_id[s.record["id"]], s.scores) for s in samples if s.scores.missing is None]
        totals = self._benchmark.scorer.totals(scored, self._read) if scored else {}
        return means((sample.scores.values, sample.scores.weights) for sample in samples) | {
            name: {"value": value, "n": len(scored)} for name, value in sorted(totals.items())
        }


class ScorerMarking(Together):
    """A plug-in's scorer: many items at a time, each going on as soon as what it wanted judged or run is there."""

    def __init__(self, benchmark: Benchmark, lots: Iterable[Sequence[Answered]], read: Read, tools: Calls) -> None:
        super().__init__(benchmark, (), read)
        self._lots, self._tools = lots, tools
        self._came: _Came = SimpleQueue()
        self._under_way = 0

    def samples(self) -> Iterator[Sample]:
        """As they are finished. Raises what ended the judging, if anything did."""
        for lot in self._lots:
            yield from self._begin(lot)
            while not self._came.empty():
                yield from self._take()
        while self._under_way:
            yield from self._take()

    def _begin(self, lot: Sequence[Answered]) -> Iterator[Sample]:
        """Start on the items; those that want nothing are finished at once."""
        wanted: list[tuple[_Turn, Sequence[Call]]] = []
        for one in lot:
            self._by_id[one.record["id"]] = one.response
            if "unanswered" in one.record:
                yield unanswered(one.record)
                continue
            turn = _Turn(one.record, self._scoring(one))
            told = self._go_on(turn)
            if isinstance(told, Sample):
                yield told
            else:
                wanted.append((turn, told))
        self._tools.expect([call for _, calls in wanted for call in calls])
        for turn, calls in wanted:
            self._submit(turn, calls)
        self._under_way += len(wanted)

    def _take(self) -> Iterator[Sample]:
        """Wait for the next thing that an item wanted; yields its sample if it was the last."""
        turn, place, future = self._came.get()
        turn.results[place] = future.result()
        turn.open -= 1
        if turn.open:
            return
        told = self._go_on(turn)
        if isinstance(told, Sample):
            self._under_way -= 1
            yield told
        else:
            self._submit(turn, told)

    def _scoring(self, one: Answered) -> Scoring:
        made = self._benchmark.scorer.score(one.response, self._read, one.opponent)
        return made if isinstance(made, Scores) else (yield from made)

    def _go_on(self, turn: _Turn) -> Sample | Sequence[Call]:
        """Take the item further: what it wants next, or its sample."""
        record = turn.record
        try:
            calls = turn.scoring.send(turn.results if turn.begun else None)  # type: ignore[arg-type]
        except StopIteration as end:
            return Sample(record, None, end.value)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - as in TaskMarking
            return failed(record, None, error)
        if not calls:
            raise UserError(f"the scorer asks for nothing about item {record['id']}", "return its scores instead")
        turn.begun = True
        return calls

    def _submit(self, turn: _Turn, calls: Sequence[Call]) -> None:
        turn.open, turn.results = len(calls), [None] * len(calls)
        for place, call in enumerate(calls):
            self._tools.submit(call).add_done_callback(partial(_came, self._came, turn, place))


@dataclass
class _Turn:
    """One item being scored."""

    record: Record
    scoring: Scoring
    begun: bool = False
    open: int = 0
    results: list[Any] = field(default_factory=list)


_Came = SimpleQueue[tuple[_Turn, int, "Future[Any]"]]


def _came(came: _Came, turn: _Turn, place: int, future: Future[Any]) -> None:
    came.put((turn, place, future))


def matched(records: Sequence[Record], contents: Sequence[tuple[str, Any]]) -> list[Record]:
    """The records in the order of the items. Raises Failure where they answer other items."""
    by_id = {record["id"]: record for record in records}
    for name, content in contents:
        _check(name, content, by_id.get(name))
    _check_number(records, contents)
    return [by_id[name] for name, _ in contents]


def _check(name: str, content: Any, record: Record | None) -> None:
    if record is None or record["doc_sha256"] != digest(plain(content)):
        raise Failure(f"the stored answers are not those to item {name}", "run the same command again")


def _check_number(records: Sequence[Record], contents: Sized) -> None:
    if len(records) != len(contents):
        raise Failure(f"there are answers to {len(records)} items of {len(contents)}", "run the same command again")


def _rounds(record: Record) -> tuple[Any, ...]:
    return tuple(tuple(reply(answer) for answer in answers) for answers in record["rounds"])


def _answer(record: Mapping[str, Any]) -> Answer:
    if "logprob" in record:
        return Loglikelihood(record["logprob"], record["greedy"], record["prompt_cut"])
    return Generation(record["text"], (), record["finish"], record["prompt_cut"])
