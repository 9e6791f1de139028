"""The answers of finished runs that wait for somebody's grades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.api import Benchmark, Evaluator, answer_digest
from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.board.publish import read_board, read_row, run_samples
from harness.board.rows import Row
from harness.canonical import digest
from harness.data.hubrows import read_now
from harness.errors import Failure
from harness.evaluate.questions import plain
from harness.recipe import plugin_of


@dataclass(frozen=True)
class Answer:
    """One answer to grade, whichever and however many models gave it: who did is not for the grader to know."""

    question_id: str
    question: str
    text: str

    @property
    def sha256(self) -> str:
        """What the graded sheet knows it by."""
        return answer_digest(self.text)


def ungraded(folders: Sequence[Path], data_root: Path | None) -> dict[str, list[Answer]]:
    """By benchmark, every different answer without a grade: in the order of the questions, shuffled within each.

    Benchmarks whose answers are all graded are there with none. Raises UserError for a folder without a finished run.
    """
    found: dict[str, dict[tuple[str, str], Answer]] = {}
    places: dict[tuple[str, str], int] = {}
    for folder in folders:
        for row in (read_row(folder, line.row) for line in read_board(folder).lines):
            for name, evaluator in _graded_by_people(row).items():
                answers = found.setdefault(name, {})
                questions = _questions(evaluator, data_root)
                places |= {(name, question): n for n, question in enumerate(questions)}
                for answer in _answers(folder, row, name, questions):
                    answers[answer.question_id, answer.sha256] = answer
    return {
        name: sorted(answers.values(), key=lambda answer: (places[name, answer.question_id], answer.sha256))
        for name, answers in found.items()
    }


def _graded_by_people(row: Row) -> Mapping[str, Evaluator]:
    recipe = row.result.recipe
    entries = recipe["suite"]["benchmarks"] if "suite" in recipe else recipe["benchmarks"]
    offered = bind(ArmSpec((FALLBACK,), recipe["options"]), [*dict.fromkeys(map(plugin_of, entries))]).evaluators()
    return {
        name: evaluator
        for name, (evaluator, _) in offered.items()
        if name in row.result.tasks and evaluator.needs("grades")
    }


def _questions(evaluator: Evaluator, data_root: Path | None) -> dict[str, tuple[str, str]]:
    """Item id to the digest of its content and the question's text, in order."""
    assert isinstance(evaluator.task, Benchmark)
    asked = evaluator.task.questions
    items = asked.items(read_now(asked.data, data_root))
    return {item.id: (digest(plain(item.content)), str(item.content["question"])) for item in items}


def _answers(folder: Path, row: Row, name: str, questions: Mapping[str, tuple[str, str]]) -> Iterator[Answer]:
    for seed in row.result.tasks[name].seeds:
        for sample in run_samples(folder, row, name, seed.seed):
            content, question = questions.get(sample["id"], ("", ""))
            if content != sample["doc_sha256"]:
                raise Failure(f"question {sample['id']} of {name} has changed since {folder} was run", "run it again")
            if sample["outcome"] == "ungraded":
                yield Answer(sample["id"], question, sample["response"])
