"""The evaluate job: stored answers, scored by one protocol; no engine, and never a second generation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from harness.aggregates import total, weighted_mean
from harness.api import Evaluator, LmEvalTask, Total
from harness.canonical import Json, canonical, file_digest, utf8
from harness.context import Context, Progress
from harness.data.hubrows import reader
from harness.errors import Failure
from harness.evaluate.arrivals import Answers
from harness.evaluate.marking import Marking, ScorerMarking, TaskMarking, answered
from harness.evaluate.samples import OUTCOMES, Sample
from harness.evaluate.tools import Tools
from harness.jobs import Evaluate
from harness.judge.settings import Judging


def evaluate(declared: Evaluate, evaluator: Evaluator, judging: Judging | None, context: Context) -> Json:
    """Score the answers of the parent `answers`, as they come, with `judging` where the scorer needs a judge.

    Returns `result` and `measured`. What was bought of a judge is in the store before it is used, so a second attempt
    buys only what is missing. Raises UserError for a task and data that do not fit together, Failure where the scorer
    failed on every item.
    """
    started = time.perf_counter()
    answers = Answers(context)
    with ExitStack() as stack:
        tools = stack.enter_context(Tools(judging, context, coming=not answers.finished))
        marking: Marking
        if isinstance(evaluator.task, LmEvalTask):
            lots = [record for lot in answers.lots() for record in lot]
            marking = TaskMarking(evaluator.task, answers.declared, lots, context.data_root)
        else:
            opponent = Answers(context, "opponent").records if "opponent" in context.parents else None
            said = answered(evaluator.task.questions, answers, opponent, context.data_root)
            read = reader(evaluator.task.scorer.data, declared.data, context.data_root)
            marking = ScorerMarking(evaluator.task, said, read, tools)
        by_id: dict[str, Sample] = {}
        for sample in marking.samples():
            by_id[sample.record["id"]] = sample
            context.progress(Progress(len(by_id), answers.items, "item"))
        taken = tools.taken()
    samples = marking.settled([by_id[record["id"]] for record in answers.records])
    failed = [sample for sample in samples if sample.outcome == "scorer_error"]
    if len(failed) == len(samples):
        raise Failure(f"the scorer failed on every sample: {failed[0].error}", "mend the task")
    if copies := sum(sample.alike for sample in samples):
        share = f"{copies / len(samples):.0%} of the answers"
        context.notice(f"{share} are near copies of one: the judge's scores say little of the model")
    path = context.folder / "samples.jsonl"
    path.write_bytes(utf8("".join(canonical(sample.line()) + "\n" for sample in samples)))
    inherited = answers.manifest["result"]
    return {
        "result": {
            **summary(evaluator, samples, marking.metrics(samples)),
            **{name: inherited[name] for name in ("prompt_tokens", "template_digest", "bos_count_max")},
            **({"judge": declared.judge} if declared.judge else {}),
            "samples_sha256": file_digest(path),
        },
        "measured": {"seconds": time.perf_counter() - started, **taken},
    }


def summary(evaluator: Evaluator, samples: Sequence[Sample], metrics: Json) -> dict[str, Json]:
    """The numbers of the result: the score, every metric, and how the samples ended."""
    name = evaluator.task.score
    scored = {
        sample.record["id"]: (sample.scores.values[name], sample.scores.weights.get(name, 1.0))
        for sample in samples
        if name in sample.scores.values
    }
    rule = evaluator.aggregate
    if isinstance(rule, Total):
        points = {item: value for item, (value, _) in scored.items()}
        score = total(points, len(samples), rule.out_of, rule.drop_lowest_of)
    else:
        score = weighted_mean(scored.values())
    outcomes = Counter(sample.outcome for sample in samples)
    return {
        "score": score,
        "metrics": metrics,
        "n_expected": len(samples),
        "n_scored": len(scored),
        "n_missing": len(samples) - len(scored),
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES if outcomes[outcome]},
        "prompts_cut": sum(sample.prompt_cut > 0 for sample in samples),
        "outputs_truncated": sum(sample.finish == "length" for sample in samples),
        "unparsed": sum(sample.scores.unparsed for sample in samples),
        "alike": sum(sample.alike for sample in samples),
    }
