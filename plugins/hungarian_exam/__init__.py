"""The Hungarian national high-school finals in mathematics of May 2023: 33 questions, 100 points.

Every published score was given by people with the official marking scheme. So answers go onto a grading sheet, and
grades are read from it; a judge can grade by a rubric of the user's, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from harness.api import Arm, Benchmark, Evaluator, Files, Options, Plugin, hookimpl

from .exam import BEST_TWO_OF_THREE, ExamQuestions
from .grading import HandGraded, JudgeGraded


def _to_list(value: Any) -> Any:
    """One name is a list of one."""
    return (value,) if isinstance(value, str) else value


class HungarianExamOptions(Options):
    """How models are asked, and where the grades come from."""

    instruction: str = ""
    """What stands before each question, `Answer the following question:`; nothing by default."""
    shots: str = ""
    """For models without a chat format: a file of examples, `question` and `answer`, shown before each question."""
    max_new_tokens: int = Field(2048, ge=1)
    """Tokens an answer may have."""
    grades: Annotated[tuple[str, ...], BeforeValidator(_to_list)] = ()
    """Graded sheets, one or several: `question_id`, `points`, and `answer_sha256` or `answer`."""
    rubric: str = ""
    """The marking scheme: `question_id`, `max_points`, `criteria`. A judge needs it; grades are held to its maxima."""


PLUGIN = Plugin(
    name="hungarian_exam",
    version="1.0",
    summary="The Hungarian high-school finals in mathematics of May 2023, graded by people or by a judge.",
    paper="https://huggingface.co/datasets/keirp/hungarian_national_hs_finals_exam",
    options=HungarianExamOptions,
)


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """`hungarian_exam`, graded by people, and by name `hungarian_exam_judged`, the same answers graded by a judge."""
    options = arm.options(HungarianExamOptions)
    rubric = _files(options.rubric)
    questions = ExamQuestions(options.instruction, _files(options.shots), options.max_new_tokens)
    asked = "-shots" if options.shots else "-instructed" if options.instruction else ""
    grades = _files(*options.grades)
    by_hand = Benchmark(questions, HandGraded(grades, rubric), "points")
    by_judge = Benchmark(questions, JudgeGraded(rubric, grades), "points")
    return [
        Evaluator(
            "hungarian_exam", f"human-1{asked}", by_hand, summary="graded by people", aggregate=BEST_TWO_OF_THREE
        ),
        Evaluator(
            "hungarian_exam_judged",
            f"judge-1{asked}",
            by_judge,
            summary="graded by a judge",
            aggregate=BEST_TWO_OF_THREE,
            optional=True,
        ),
    ]


def _files(*paths: str) -> Files | None:
    named = tuple(path for path in paths if path)
    return Files(named) if named else None
