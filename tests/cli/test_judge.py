"""`harness judge`: agreement with people, and what was spent."""

import csv
import json

import pytest
from typer.testing import CliRunner

from harness.cli.app import app

FOLDER = "keirp/hungarian_national_hs_finals_exam"


@pytest.fixture
def harness():
    """What a command prints."""

    def harness(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return harness


@pytest.fixture
def sheet(tmp_path):
    """Writes a graded sheet."""

    def sheet(name, points, **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["question_id", "points", *columns])
            writer.writeheader()
            writer.writerows({"question_id": q, "points": p, **columns} for q, p in points.items())
        return path

    return sheet


def test_the_graded_exam_of_the_mirror_totals_58(harness, sheet, mirror):
    human = mirror / FOLDER / "human_grades_deepseek-67b-chat.csv"
    with human.open(encoding="utf-8", newline="") as file:
        points = {row["question_id"]: float(row["points"]) for row in csv.DictReader(file)}
    judged = sheet("judged.csv", {question: value + (question == "1") for question, value in points.items()})
    found = json.loads(harness("judge", "agreement", human, judged, "--json"))
    assert found["totals"][human.stem] == {"human": 58, "judged": 59, "error": 1}
    assert (found["answers"], found["questions"], found["missing"]) == (33, 33, 0)
    assert found["error"]["value"] == pytest.approx(1 / 33)
    text = harness("judge", "agreement", human, judged)
    assert f"{human.stem}      58     59     +1" in text
    assert "33 answers to 33 questions" in text


def test_folders_hold_a_sheet_for_each_model(harness, sheet):
    every = {str(n): n % 3 for n in range(1, 34)}
    for model in "ab":
        sheet(f"human/{model}.csv", every)
        sheet(f"judged/{model}.csv", {**every, "7": "" if model == "a" else 3.5})
    folder = sheet("human/a.csv", every).parents[1]
    found = json.loads(harness("judge", "agreement", folder / "human", folder / "judged", "--json"))
    assert (found["answers"], found["missing"]) == (65, 1)
    assert found["totals"]["a"]["judged"] is None
    assert found["totals"]["b"]["error"] == 2.5


def test_an_evaluations_samples_are_grades(harness, sheet, tmp_path):
    human = sheet("human.csv", {"1": 2, "2": 1}, answer="the answer")
    samples = [
        {"id": "1", "scores": {"points": 1.5}, "outcome": "ok", "response": "the answer"},
        {"id": "2", "scores": {}, "outcome": "judge_unparsed", "response": "the answer"},
    ]
    judged = tmp_path / "samples.jsonl"
    judged.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    found = json.loads(harness("judge", "agreement", human, judged, "--json"))
    assert (found["answers"], found["missing"], found["error"]["value"]) == (1, 1, 0.5)
    assert found["totals"]["human"]["human"] is None  # the exam has more questions than these


def ballots(path, *rows):
    path.write_text(
        "".join(
            json.dumps(
                {"question_id": q, "model_a": "x", "model_b": "y", "winner": winner, "judge": judge, "turn": turn}
            )
            + "\n"
            for q, winner, judge, turn in rows
        )
    )
    return path


def test_votes_are_compared_with_and_without_ties_and_turn_by_turn(harness, tmp_path):
    human = ballots(
        tmp_path / "human.jsonl",
        (81, "model_a", "expert_0", 1),
        (81, "tie", "expert_1", 1),
        (82, "model_b", "expert_0", 1),
        (81, "model_b", "expert_0", 2),
    )
    judged = ballots(
        tmp_path / "judged.jsonl",
        (81, "model_a", "local", 1),
        (82, "model_a", "local", 1),
        (81, "model_b", "local", 2),
    )
    found = json.loads(harness("judge", "agreement", human, judged, "--json"))
    rates = {
        (one["who"], one["turn"]): (one["pairs"], one["with_ties"]["value"], one["decided_pairs"]) for one in found
    }
    assert rates["judge and people", None] == (4, 0.5, 3)
    assert rates["judge and people", 1] == (3, pytest.approx(1 / 3), 2)
    assert rates["judge and people", 2] == (1, 1, 1)
    assert rates["people among themselves", None] == (1, 0, 0)
    text = harness("judge", "agreement", human, judged)
    assert "chance alone: 33.3 % with ties, 50 % without" in text


def test_points_and_votes_are_not_compared(sheet, tmp_path, refused):
    from harness.cli.judge import agreement

    votes = ballots(tmp_path / "votes.jsonl", (81, "tie", "local", 1))
    assert "votes" in refused(agreement, sheet("points.csv", {"1": 1}), votes, benchmark="hungarian_exam")


def test_cost_adds_up_what_is_stored(harness, scripted, tmp_path):
    from harness.api import JudgePrompt, Message
    from harness.judge.judge import Judge
    from harness.judge.settings import Judging

    assert "no judge's replies" in harness("judge", "cost", "--store", tmp_path)
    with scripted.ScriptedJudge() as server:
        judging = Judging(model="judge-1", base_url=server.base_url, name="scripted")
        with Judge(judging, tmp_path, notice=pytest.fail) as judge:
            for number in range(3):
                judge.ask(JudgePrompt((Message("user", f"answer {number}"),), parse=str))
    assert harness("judge", "cost", "--store", tmp_path) == ("judge-1 at scripted: 3 replies, 6 tokens in, 30 out\n")
    priced = harness("judge", "cost", "--store", tmp_path, "--price-in", 1e6, "--price-out", 1e5)
    assert priced == "judge-1 at scripted: 3 replies, 6 tokens in, 30 out, $9.00\n"
