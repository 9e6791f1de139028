"""The exam: its questions, how a model is asked, and how its points are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.api import Ask, Asking, Files, Hub, Item, Message, Questions, Read, Rows, Total, UserError

EXAM = Hub("keirp/hungarian_national_hs_finals_exam", ("test.csv",), "3189518a15b482429de64b731eb0cdce416fb17a")
SOLUTIONS = f"test/solutions.pdf of the hub dataset {EXAM.id}"
QUESTIONS = 33
BEST_TWO_OF_THREE = Total(100, (("25", "26", "27"), ("28", "29", "30"), ("31", "32", "33")))
"""Of problems 16, 17 and 18, whose parts these are, the best two count."""


@dataclass(frozen=True)
class ExamQuestions(Questions):
    """The questions, nearly greedily answered: temperature 0.1."""

    instruction: str
    shots: Files | None
    max_new_tokens: int

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """The questions and the examples."""
        return (EXAM, self.shots) if self.shots else (EXAM,)

    def items(self, read: Read) -> Sequence[Item]:
        """Numbered from 1, as in graded sheets."""
        examples = {"shots": _examples(read(self.shots))} if self.shots else {}
        return [Item(str(n), {"question": row["Question"], **examples}) for n, row in enumerate(read(EXAM), 1)]

    def ask(self, item: Item) -> Asking:
        """The question in the model's chat format; with examples, as a text to be gone on with."""
        question = item.content["question"]
        if self.shots:
            prompt = f"{item.content['shots']}Problem:\n{question}\n\nSolution:\n"
            yield (Ask(prompt, self.max_new_tokens, temperature=0.1, stop=("\nProblem:",)),)
        else:
            message = Message("user", f"{self.instruction}\n{question}" if self.instruction else question)
            yield (Ask((message,), self.max_new_tokens, temperature=0.1),)


def _examples(rows: Rows) -> str:
    if any(not {"question", "answer"} <= set(row) for row in rows):
        raise UserError("the examples of hungarian_exam.shots lack a column", "give each a question and an answer")
    return "".join(f"Problem:\n{row['question']}\n\nSolution:\n{row['answer']}\n\n" for row in rows)
