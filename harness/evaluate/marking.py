"""Marking: stored answers become scored samples, by an lm-eval task's scorers or by a plug-in's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol

from harness.aggregates import weighted_mean
from harness.api import Benchmark, Execute, JudgePrompt, LmEvalTask, Read, Response, Scores, Scoring
from harness.canonical import Json, digest
from harness.engines.protocol import Answer, Generation, Loglikelihood
from harness.errors import Failure, HarnessError, UserError
from harness.evaluate.hubrows import reader
from harness.evaluate.interviews import checked, reply
from harness.evaluate.lmeval import TaskBenchmark
from harness.evaluate.questions import Question, TaskScores, plain
from harness.jobs import DataDeclaration, Respond

Outcome = Literal[
    "ok",
    "unparsed",
    "truncated_output",
    "prompt_cut",
    "scorer_error",
    "judge_unparsed",
    "judge_refused",
    "judge_error",
    "sandbox_failure",
    "ungraded",
]
"""Of several the last counts, since it explains the others. From `scorer_error` on the item has no score."""

OUTCOMES: tuple[Outcome, ...] = Outcome.__args__  # type: ignore[attr-defined]

Call = JudgePrompt | Execute
Record = Mapping[str, Any]
"""A line of answers.jsonl."""


class Calls(Protocol):
    """Whoever judges prompts and runs programs."""

    def expect(self, calls: Sequence[Call]) -> None:
        """What all items want first; said before anything of it is done."""
        ...

    def submit(self, call: Call) -> Future[Any]:
        """Have it done."""
        ...


@dataclass(frozen=True)
class Sample:
    """An item, answered and scored."""

    record: Record
    target: Json
    scores: Scores
    error: str | None = None
    """How the scorer failed, where it did."""

    @property
    def finish(self) -> Literal["stop", "length"] | None:
        """`length` where an answer ran into the limit; None where nothing was generated."""
        ends = {answer["finish"] for answer in self._answers() if "finish" in answer}
        return None if not ends else "length" if "length" in ends else "stop"

    @property
    def prompt_cut(self) -> int:
        """Tokens cut from the longest of its prompts."""
        return max(int(answer["prompt_cut"]) for answer in self._answers())

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if self.scores.missing:
            return self.scores.missing
        if self.prompt_cut:
            return "prompt_cut"
        if self.finish == "length":
            return "truncated_output"
        return "unparsed" if self.scores.unparsed else "ok"

    def line(self) -> Json:
        """Its line of samples.jsonl. The question itself is left out: it belongs to others, and has its hash here."""
        said = [a["text"] if "text" in a else [a["logprob"], a["greedy"]] for a in self._answers()]
        single = len(said) == 1 and isinstance(said[0], str)
        judged = [{"outcome": v.outcome, "value": plain(v.value), "text": v.text} for v in self.scores.judgments]
        return {
            "id": self.record["id"],
            "doc_sha256": self.record["doc_sha256"],
            "prompt_sha256": self.record["prompt_sha256"],
            "response": said[0] if single else said,
            "finish": self.finish,
            "prompt_cut": self.prompt_cut,
            "extracted": plain(self.scores.extracted),
            "target": self.target,
            "scores": dict(self.scores.values),
            **({"weights": dict(self.scores.weights)} if self.scores.weights else {}),
            "outcome": self.outcome,
            **({"judgments": judged} if judged else {}),
            **({"detail": plain(self.scores.detail)} if self.scores.detail else {}),
            **({"error": self.error} if self.error else {}),
        }

    def _answers(self) -> list[Mapping[str, Any]]:
        return [answer for answers in self.record["rounds"] for answer in answers]


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
            yield self._sample(question, record)

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
            return _failed(record, target, error)


class Together:
    """What a plug-in's scorer makes of all its items together, whoever gave them their scores."""

    def __init__(self, benchmark: Benchmark, responses: Sequence[Response], read: Read) -> None:
        self._benchmark, self._read = benchmark, read
        self._by_id = {response.item.id: response for response in responses}

    def settled(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples, in the benchmark's order, with values that none has by itself."""
        scored = [(self._by_id[sample.record["id"]], sample.scores) for sample in samples]
        settled = self._benchmark.scorer.settle(scored, self._read)
        return [replace(sample, scores=scores) for sample, scores in zip(samples, settled, strict=True)]

    def metrics(self, samples: Sequence[Sample]) -> dict[str, Json]:
        """Weighted means over samples, and the scorer's own totals."""
        numbers: dict[str, list[tuple[float, float]]] = {}
        for sample in samples:
            for name, value in sample.scores.values.items():
                numbers.setdefault(name, []).append((value, sample.scores.weights.get(name, 1.0)))
        means = {name: {"value": weighted_mean(of), "n": len(of)} for name, of in sorted(numbers.items())}
        scored = [(self._by_id[s.record["id"]], s.scores) for s in samples if s.scores.missing is None]
        totals = self._benchmark.scorer.totals(scored, self._read) if scored else {}
        return means | {name: {"value": value, "n": len(scored)} for name, value in sorted(totals.items())}


class ScorerMarking(Together):
    """A plug-in's scorer: many items at a time, each going on as soon as what it wanted judged or run is there."""

    def __init__(
        self,
        benchmark: Benchmark,
        asked: Respond,
        data: Sequence[DataDeclaration],
        records: Sequence[Record],
        *,
        opponent: Sequence[Record] | None,
        tools: Calls,
        data_root: Path | None,
    ) -> None:
        self._tools = tools
        questions, scorer = benchmark.questions, benchmark.scorer
        items = checked(questions.items(reader(questions.data, asked.data, data_root)))[: asked.limit]
        contents = [(item.id, item.content) for item in items]
        self._records = matched(records, contents)
        self._responses = [Response(i, _rounds(r)) for i, r in zip(items, self._records, strict=True)]
        super().__init__(benchmark, self._responses, reader(scorer.data, data, data_root))
        self._opponents: Sequence[Response | None] = [None] * len(items)
        if opponent is not None:
            theirs = matched(opponent, contents)
            self._opponents = [Response(i, _rounds(r)) for i, r in zip(items, theirs, strict=True)]

    def samples(self) -> Iterator[Sample]:
        """As they are finished. Raises what ended the judging, if anything did."""
        came: _Came = SimpleQueue()
        wanted: list[tuple[_Turn, Sequence[Call]]] = []
        for n in range(len(self._records)):
            turn = _Turn(n, self._scoring(n))
            told = self._go_on(turn)
            if isinstance(told, Sample):
                yield told
            else:
                wanted.append((turn, told))
        self._tools.expect([call for _, calls in wanted for call in calls])
        for turn, calls in wanted:
            self._submit(turn, calls, came)
        under_way = len(wanted)
        while under_way:
            turn, place, future = came.get()
            turn.results[place] = future.result()
            turn.open -= 1
            if turn.open:
                continue
            told = self._go_on(turn)
            if isinstance(told, Sample):
                under_way -= 1
                yield told
            else:
                self._submit(turn, told, came)

    def _scoring(self, n: int) -> Scoring:
        made = self._benchmark.scorer.score(self._responses[n], self._read, self._opponents[n])
        return made if isinstance(made, Scores) else (yield from made)

    def _go_on(self, turn: _Turn) -> Sample | Sequence[Call]:
        """Take the item further: what it wants next, or its sample."""
        record = self._records[turn.n]
        try:
            calls = turn.scoring.send(turn.results if turn.begun else None)  # type: ignore[arg-type]
        except StopIteration as end:
            return Sample(record, None, end.value)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - as in TaskMarking
            return _failed(record, None, error)
        if not calls:
            raise UserError(f"the scorer asks for nothing about item {record['id']}", "return its scores instead")
        turn.begun = True
        return calls

    def _submit(self, turn: _Turn, calls: Sequence[Call], came: _Came) -> None:
        turn.open, turn.results = len(calls), [None] * len(calls)
        for place, call in enumerate(calls):
            self._tools.submit(call).add_done_callback(partial(_came, came, turn, place))


@dataclass
class _Turn:
    """One item being scored."""

    n: int
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
        if by_id.get(name, {}).get("doc_sha256") != digest(plain(content)):
            raise Failure(f"the stored answers are not those to item {name}", "run the same command again")
    if len(by_id) != len(contents):
        raise Failure(f"there are answers to {len(by_id)} items of {len(contents)}", "run the same command again")
    return [by_id[name] for name, _ in contents]


def _rounds(record: Record) -> tuple[Any, ...]:
    return tuple(tuple(reply(answer) for answer in answers) for answers in record["rounds"])


def _answer(record: Mapping[str, Any]) -> Answer:
    if "logprob" in record:
        return Loglikelihood(record["logprob"], record["greedy"], record["prompt_cut"])
    return Generation(record["text"], (), record["finish"], record["prompt_cut"])


def _failed(record: Record, target: Json, error: Exception) -> Sample:
    return Sample(record, target, Scores({}, missing="scorer_error"), f"{type(error).__name__}: {error}")
