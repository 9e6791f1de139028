"""Answers that a file brings: scored as the file scores them, or anew by a judge, by the code that scores a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.api import Benchmark, Evaluator, Response
from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.canonical import Json, digest
from harness.data.formats import rows
from harness.data.hubrows import read_now
from harness.errors import UserError
from harness.evaluate.marking import Answered, Calls, ScorerMarking, Together
from harness.evaluate.questions import plain
from harness.evaluate.samples import Record, Sample
from harness.evaluate.score import summary
from harness.recipe import Recipe
from harness.suite import chosen, reads


@dataclass(frozen=True)
class Scored:
    """What an evaluation of the file's answers would have found."""

    result: Json
    """As in an evaluate job: score, metrics, outcomes."""
    samples: list[Sample]


def find(recipe: Recipe) -> Evaluator:
    """The one benchmark that the recipe names. Raises UserError where it names several."""
    wanted = chosen(recipe.entries(), bind(ArmSpec((FALLBACK,), recipe.options), recipe.plugin_names()).evaluators())
    if len(wanted) != 1:
        (name,) = recipe.entries()
        choice = " or ".join(f"{name}:{benchmark}" for benchmark in wanted)
        raise UserError(f"the plug-in {name!r} offers {len(wanted)} benchmarks", f"name one: {choice}")
    ((evaluator, _),) = wanted.values()
    return evaluator


def score_file(evaluator: Evaluator, file: Path, data_root: Path | None, judge: Calls | None = None) -> Scored:
    """The answers of a data file with the scores that it gives them; with a judge, with the judge's.

    Raises UserError for a file whose rows are none of this benchmark's.
    """
    task = evaluator.task
    if not isinstance(task, Benchmark):
        raise UserError(f"{evaluator.name} takes no scores from a file", "let a model answer it: harness run or eval")
    read = read_now(reads(evaluator), data_root)
    found = [row.values for row in rows(str(file), file)]
    try:
        given = task.scorer.given(found, read)
    except UserError as error:
        raise UserError(f"{file}: {error.problem}", error.remedy) from None
    times = Counter(response.item.id for response, _ in given)
    if twice := next((item for item, n in times.items() if n > 1), None):
        raise UserError(f"{file} scores item {twice} of {evaluator.name} twice", "give the scores of one model")
    answered = [Answered(_record(response), response) for response, _ in given]
    if judge is None:
        together = Together(task, [response for response, _ in given], read)
        samples = [Sample(one.record, None, scores) for one, (_, scores) in zip(answered, given, strict=True)]
    else:
        together = marking = ScorerMarking(task, [answered], read, judge)
        by_id = {sample.record["id"]: sample for sample in marking.samples()}
        samples = [by_id[one.record["id"]] for one in answered]
    samples = together.settled(samples)
    return Scored(summary(evaluator, samples, together.metrics(samples)), samples)


def _record(response: Response) -> Record:
    """As the answers of a run are stored."""
    rounds = [
        [{"text": r.text, "finish": r.finish, "tokens": r.tokens, "prompt_cut": r.prompt_cut} for r in replies]
        for replies in response.rounds
    ]
    content = digest(plain(response.item.content))
    return {"id": response.item.id, "doc_sha256": content, "prompt_sha256": digest([]), "rounds": rounds}
