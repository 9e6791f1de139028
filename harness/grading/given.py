"""Scores that a file brings, such as published annotations: made into a benchmark's numbers as a run's own are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.api import Benchmark, Evaluator, Response, Scores
from harness.arms import ArmSpec, bind
from harness.canonical import Json, digest
from harness.data.formats import rows
from harness.errors import UserError
from harness.evaluate.hubrows import read_now
from harness.evaluate.marking import Sample, Together
from harness.evaluate.questions import plain
from harness.evaluate.score import summary
from harness.recipe import plugin_of
from harness.suite import chosen, reads


def find(name: str) -> Evaluator:
    """The benchmark that `plugin` or `plugin:benchmark` names. Raises UserError where that is none, or several."""
    wanted = chosen([name], bind(ArmSpec(("base",)), [plugin_of(name)]).evaluators())
    if len(wanted) != 1:
        choice = " or ".join(f"{name}:{benchmark}" for benchmark in wanted)
        raise UserError(f"the plug-in {name!r} offers {len(wanted)} benchmarks", f"name one: {choice}")
    ((evaluator, _),) = wanted.values()
    return evaluator


def score_file(evaluator: Evaluator, file: Path, data_root: Path | None) -> Json:
    """What an evaluate job's `result` says of its score, of the answers and scores in a data file.

    Raises UserError for a file whose rows are none of this benchmark's.
    """
    task = evaluator.task
    if not isinstance(task, Benchmark):
        raise UserError(f"{evaluator.name} takes no scores from a file", "let a model answer it: harness run or eval")
    read = read_now(reads(evaluator), data_root)
    given = task.scorer.given([row.values for row in rows(str(file), file)], read)
    times = Counter(response.item.id for response, _ in given)
    if twice := next((item for item, n in times.items() if n > 1), None):
        raise UserError(f"{file} scores item {twice} of {evaluator.name} twice", "give the scores of one model")
    together = Together(task, [response for response, _ in given], read)
    samples = together.settled([_sample(response, scores) for response, scores in given])
    return summary(evaluator, samples, together.metrics(samples))


def _sample(response: Response, scores: Scores) -> Sample:
    answers = [
        [{"text": reply.text, "finish": reply.finish, "tokens": reply.tokens, "prompt_cut": reply.prompt_cut}]
        for reply in response.replies
    ]
    content = digest(plain(response.item.content))
    record = {"id": response.item.id, "doc_sha256": content, "prompt_sha256": digest([]), "rounds": answers}
    return Sample(record, None, scores)
