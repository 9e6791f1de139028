"""The evaluate job: ask, store, score, one sample at a time, and never lose what was asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from harness.api import Evaluator, LmEvalTask
from harness.canonical import Json, canonical, digest, file_digest
from harness.context import Context, Progress
from harness.engines.pool import Engines
from harness.engines.protocol import GenerateRequest, Generation, LoglikelihoodRequest
from harness.engines.stored import StoredEngine
from harness.errors import Failure, UserError
from harness.evaluate.lmeval import Answer, Benchmark, Question, Scores, plain
from harness.evaluate.prompts import Prompts
from harness.jobs import Evaluate

Outcome = Literal["ok", "unparsed", "truncated_output", "prompt_cut", "scorer_error"]
"""`scorer_error` is missing; the others are scored. Of several, the one that explains the others counts."""

OUTCOMES: tuple[Outcome, ...] = ("ok", "unparsed", "truncated_output", "prompt_cut", "scorer_error")


@dataclass(frozen=True)
class Sample:
    """One question, answered and scored."""

    question: Question
    answers: tuple[Answer, ...]
    target: Json
    scores: Scores | None
    """None where a scorer failed; then `error` says how."""
    error: str | None = None

    @property
    def prompt_cut(self) -> int:
        """Tokens cut from the longest of its prompts."""
        return max(answer.prompt_cut for answer in self.answers)

    @property
    def finish(self) -> Literal["stop", "length"] | None:
        """`length` where an answer ran into the limit; None where nothing was generated."""
        ends = {answer.finish for answer in self.answers if isinstance(answer, Generation)}
        return None if not ends else "length" if "length" in ends else "stop"

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if self.scores is None:
            return "scorer_error"
        if self.prompt_cut:
            return "prompt_cut"
        if self.finish == "length":
            return "truncated_output"
        return "unparsed" if self.scores.unparsed else "ok"

    def record(self) -> Json:
        """Its line of samples.jsonl. The question itself is left out: it belongs to others, and has its hash here."""
        responses = [a.text if isinstance(a, Generation) else [a.logprob, a.greedy] for a in self.answers]
        single = len(responses) == 1 and isinstance(self.answers[0], Generation)
        scores = self.scores or Scores({}, {}, unparsed=False)
        return {
            "id": self.question.index,
            "doc_sha256": digest(plain(self.question.doc)),
            "prompt_sha256": digest([_ids(request) for request in self.question.requests]),
            "response": responses[0] if single else responses,
            "finish": self.finish,
            "prompt_cut": self.prompt_cut,
            "extracted": scores.extracted,
            "target": self.target,
            "scores": plain(scores.values),
            "outcome": self.outcome,
            **({"error": self.error} if self.error else {}),
        }


def evaluate(declared: Evaluate, evaluator: Evaluator, engines: Engines, context: Context) -> Json:
    """Run one benchmark on the model of the parent `model`; returns `result` and `measured`.

    A second attempt asks the engine only for what the first did not store. Raises UserError for a task, model or data
    that do not fit together, Failure where no sample could be scored.
    """
    started = time.perf_counter()
    benchmark = Benchmark(declared, evaluator, context.data_root)
    opening = time.perf_counter()
    engine = engines.open(declared.engine, context.parents["model"] / "model", context.runtime)
    answering = time.perf_counter()
    assert isinstance(evaluator.task, LmEvalTask)
    prompts = Prompts(engine.tokenizer, chat=evaluator.task.chat)
    questions = benchmark.questions(prompts)
    responses = context.folder / "responses.jsonl"
    model_key = context.parents["model"].name
    with StoredEngine(engine, responses, settings=declared.engine, model_key=model_key) as stored:
        answers = _ask(questions, stored, context)
    scoring = time.perf_counter()
    samples = [_score(benchmark, question, [answers[r.id] for r in question.requests]) for question in questions]
    path = context.folder / "samples.jsonl"
    path.write_text("".join(canonical(sample.record()) + "\n" for sample in samples), encoding="utf-8")
    return {
        "result": {
            **_summary(benchmark, samples),
            "prompt_tokens": sum(len(_ids(request)) for question in questions for request in question.requests),
            "template_digest": prompts.template_digest,
            "bos_count_max": max(prompts.bos_count(_ids(r)) for question in questions for r in question.requests),
            "samples_sha256": file_digest(path),
        },
        "measured": {
            "seconds": time.perf_counter() - started,
            "engine": declared.engine.name,
            "engine_start_seconds": answering - opening,
            "requests_asked": stored.asked,
            "requests_stored": stored.stored,
            "tokens_generated": stored.tokens_generated,
            "tokens_per_second": stored.tokens_generated / (scoring - answering),
        },
    }


def _ask(questions: Sequence[Question], engine: StoredEngine, context: Context) -> Mapping[str, Answer]:
    """Every request's answer, by id."""
    requests = [request for question in questions for request in question.requests]
    generate = [request for request in requests if isinstance(request, GenerateRequest)]
    score = [request for request in requests if isinstance(request, LoglikelihoodRequest)]
    answers: dict[str, Answer] = {}
    tell = partial(Progress, total=len(requests), unit="request")
    context.progress(tell(0))
    for lots in (engine.generate(generate), engine.loglikelihood(score)):
        for lot in lots:
            answers.update(lot)
            context.progress(tell(len(answers)))
    return answers


def _score(benchmark: Benchmark, question: Question, answers: Sequence[Answer]) -> Sample:
    target = None
    try:
        target = benchmark.target(question)
        return Sample(question, tuple(answers), target, benchmark.score(question, answers))
    except Exception as error:  # noqa: BLE001 - a task's scorer is anybody's code: it may cost its sample, no more
        return Sample(question, tuple(answers), target, None, f"{type(error).__name__}: {error}")


def _summary(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Json]:
    """The numbers of the result: every metric, and how the samples ended."""
    values: dict[str, list[Any]] = {}
    for sample in samples:
        for name, value in sample.scores.values.items() if sample.scores else ():
            values.setdefault(name, []).append(value)
    scored = sum(sample.scores is not None for sample in samples)
    if not scored:
        raise Failure(f"the scorer failed on every sample: {samples[0].error}", "mend the task")
    if benchmark.score_name not in values:
        raise UserError(
            f"the task {benchmark.name} has no {benchmark.score_name}", f"its metrics are {', '.join(sorted(values))}"
        )
    metrics = {name: {"value": benchmark.aggregate(name, of), "n": len(of)} for name, of in sorted(values.items())}
    outcomes = Counter(sample.outcome for sample in samples)
    return {
        "score": metrics[benchmark.score_name]["value"],
        "metrics": metrics,
        "n_expected": len(samples),
        "n_scored": scored,
        "n_missing": len(samples) - scored,
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
        "prompts_cut": sum(sample.prompt_cut > 0 for sample in samples),
        "outputs_truncated": sum(sample.finish == "length" for sample in samples),
        "unparsed": sum(sample.scores is not None and sample.scores.unparsed for sample in samples),
    }


def _ids(request: GenerateRequest | LoglikelihoodRequest) -> tuple[int, ...]:
    return (
        request.prompt_ids if isinstance(request, GenerateRequest) else request.context_ids + request.continuation_ids
    )
