"""Rows of grades and of votes, as people and judges left them, made comparable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UserError
from harness.judge.agreement import Graded, Vote

Row = Mapping[str, Any]
POINTS = "points"
"""The column of a sheet, and the score of an evaluation, that people and judges give."""

_TIES = {"tie", "tie (inconsistent)"}


def of_samples(rows: Sequence[Row]) -> list[Row]:
    """Rows of grades, made of an evaluation's samples; others as they are. An item without a score has no points."""
    return [_of_sample(row) if {"id", "scores", "outcome"} <= set(row) else row for row in rows]


def _of_sample(row: Row) -> Row:
    points, answer = row["scores"].get(POINTS), row["response"]
    return {"model": row["model"], "question_id": row["id"], POINTS: points, "answer": answer}


def are_votes(rows: Sequence[Row]) -> bool:
    """Whether the rows say who won, and not how many points were given."""
    return "winner" in rows[0]


def graded(human: Sequence[Row], judged: Sequence[Row]) -> list[Graded]:
    """Answers with their grades by both, `question_id` and `points`, in the order of the people's.

    Rows are paired by `model` and question; where each side has one model, by question. Raises UserError where a side
    lacks an answer that the other graded, or the two were given different answers.
    """
    ours, theirs = _by_answer(human, "people"), _by_answer(judged, "the judge")
    if len({model for model, _ in ours}) == len({model for model, _ in theirs}) == 1:
        (model,) = {model for model, _ in ours}
        theirs = {(model, question): row for (_, question), row in theirs.items()}
    if ours.keys() != theirs.keys():
        model, question = min(ours.keys() ^ theirs.keys())
        side = "the judge" if (model, question) in ours else "people"
        raise UserError(f"question {question} of {model} was not graded by {side}", "give grades of the same answers")
    for (model, question), row in ours.items():
        other = theirs[model, question]
        if any(_text(row[c]) != _text(other[c]) for c in ("answer", "answer_sha256") if row.get(c) and other.get(c)):
            raise UserError(
                f"question {question} of {model}: people and judge were given different answers",
                "give grades of the same answers",
            )
    return [Graded(*key, _points(row, key), _points(theirs[key], key)) for key, row in ours.items()]


def votes(rows: Sequence[Row]) -> list[Vote]:
    """Votes in the columns of `lmsys/mt_bench_human_judgments`.

    They are `question_id`, `model_a`, `model_b`, `winner` (`model_a`, `model_b`, `tie`), `judge`, `turn`. Raises
    UserError for rows that lack one.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            sides = {side: str(row[side]) for side in ("model_a", "model_b")}
            first, second = sorted(sides.values())
            winner = str(row["winner"])
            if winner not in sides and winner not in _TIES:
                raise UserError(f"vote {number}: {winner!r} is no winner", "write model_a, model_b or tie")
            turn = int(row["turn"])
            found.append(Vote(str(row["question_id"]), turn, (first, second), sides.get(winner), str(row["judge"])))
        except KeyError as missing:
            raise UserError(f"vote {number} has no {missing.args[0]}", "give the columns of docs/judges.md") from None
        except ValueError:
            raise UserError(f"vote {number}: {row['turn']!r} is no turn", "write 1 or 2") from None
    return found


def _by_answer(rows: Sequence[Row], whose: str) -> dict[tuple[str, str], Row]:
    found: dict[tuple[str, str], Row] = {}
    for number, row in enumerate(rows, start=1):
        if "question_id" not in row or POINTS not in row:
            raise UserError(
                f"row {number} of what {whose} said lacks question_id or points", "give the columns of docs/judges.md"
            )
        key = str(row["model"]), str(row["question_id"])
        if key in found:
            raise UserError(f"question {key[1]} of {key[0]} is graded twice by {whose}", "leave one of the grades")
        found[key] = row
    return found


def _points(row: Row, key: tuple[str, str]) -> float | None:
    """None where there is no grade."""
    value = row[POINTS]
    if value is None or not str(value).strip():
        return None
    try:
        points = float(value)
    except ValueError:
        points = math.nan
    if not math.isfinite(points) or points < 0:
        raise UserError(f"question {key[1]} of {key[0]}: {value!r} are no points", "write a number, or nothing")
    return points


def _text(answer: object) -> str:
    return "\n".join(line.rstrip() for line in str(answer).strip().splitlines())
