"""Scores that a file brings become the numbers that a run's own would."""

import csv
import json
import subprocess
import sys

import pytest

from harness.grading import given
from harness.recipe import load
from harness.settings import Setting


def find(name):
    return given.find(load(None, [Setting(None, ("benchmarks",), [name])]))


def score_file(*arguments):
    return given.score_file(*arguments).result


@pytest.fixture
def exam(tmp_path):
    """A mirror with 33 questions of our own, and a file of grades: `exam(points)`."""
    folder = tmp_path / "mirror/keirp/hungarian_national_hs_finals_exam"
    folder.mkdir(parents=True)
    questions = [[f"What is {n} + {n}?"] for n in range(1, 34)]
    write(folder / "test.csv", ["Question"], questions)

    def graded(points):
        path = tmp_path / "graded.csv"
        write(path, ["question_id", "answer", "points"], [[n, 2 * n, of] for n, of in points.items()])
        return score_file(find("hungarian_exam"), path, tmp_path / "mirror")

    return graded


def write(path, header, lines):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def test_the_exams_total_leaves_out_the_lowest_of_its_last_three_problems(exam):
    points = dict.fromkeys(range(1, 34), 1) | {1: 2.5, 25: 4, 28: 0}
    result = exam(points)
    assert result["score"] == pytest.approx((24 + 1.5 + 6 + 3) / 100)  # without the 2 of problem 17
    assert (result["n_scored"], result["n_missing"]) == (33, 0)


def test_an_exam_that_is_not_graded_in_full_has_no_total(exam):
    result = exam(dict.fromkeys(range(1, 33), 1) | {5: ""})
    assert (result["score"], result["n_scored"], result["n_missing"]) == (None, 31, 2)
    assert result["outcomes"] == {"ok": 31, "ungraded": 2}
    assert exam(dict.fromkeys(range(1, 34), 1) | {5: ""})["score"] is None  # nor is a question before them 0


def test_an_item_that_a_file_scores_twice_is_refused(tmp_path, refused):
    folder = tmp_path / "mirror/tatsu-lab/alpaca_eval"
    folder.mkdir(parents=True)
    row = {"instruction": "Why?", "output": "So.", "dataset": "made", "generator": "text_davinci_003"}
    (folder / "alpaca_eval_text_davinci_003.json").write_text(json.dumps([row]))
    annotation = {"instruction": "Why?", "output_1": "So.", "output_2": "Because.", "preference": 2.0}
    (tmp_path / "annotations.json").write_text(json.dumps([annotation, annotation]))
    line = refused(score_file, find("alpaca_eval:alpaca_eval"), tmp_path / "annotations.json", tmp_path / "mirror")
    assert "scores item 0 of alpaca_eval twice" in line


def test_the_published_human_grades_give_58(mirror):
    path = mirror / "keirp/hungarian_national_hs_finals_exam/human_grades_deepseek-67b-chat.csv"
    assert score_file(find("hungarian_exam"), path, mirror)["score"] == pytest.approx(0.58, abs=1e-12)


def test_published_annotations_give_the_published_win_rate_and_error(mirror):
    path = mirror / "tatsu-lab/alpaca_eval/annotations_alpaca-7b_weighted_alpaca_eval_gpt4_turbo.json"
    result = score_file(find("alpaca_eval:alpaca_eval_2"), path, mirror)
    assert 100 * result["score"] == pytest.approx(2.591450540223603, abs=1e-9)
    assert result["metrics"]["win_rate"]["value"] == pytest.approx(2.591450540223603, abs=1e-9)
    assert result["metrics"]["standard_error"]["value"] == pytest.approx(0.4870855382635108, abs=1e-9)


def test_a_name_stands_for_one_benchmark_that_takes_scores(tmp_path, refused):
    assert refused(find, "alpaca_eval").endswith("(name one: alpaca_eval:alpaca_eval or alpaca_eval:alpaca_eval_2)")
    assert "gsm8k takes no scores from a file" in refused(score_file, find("gsm8k"), tmp_path / "x.csv", None)


def harness(*arguments, cwd=None):
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=cwd).stdout


def test_the_command_prints_the_score_and_with_json_all_there_is(mirror):
    path = mirror / "keirp/hungarian_national_hs_finals_exam/human_grades_deepseek-67b-chat.csv"
    told = harness("score", "hungarian_exam", path, "--data-root", mirror)
    assert told.splitlines()[:2] == ["hungarian_exam, human-1: 58 of 100", "33 of 33 items scored"]
    told = harness("score", "hungarian_exam", path, "--data-root", mirror, "--json")
    assert json.loads(told)["score"] == pytest.approx(0.58)


def test_a_judge_grades_the_answers_of_a_file_and_is_compared_with_its_people(exam, scripted, tmp_path):
    exam(dict.fromkeys(range(1, 34), 2))  # leaves graded.csv
    most = dict.fromkeys(range(1, 34), 2) | {1: 16, 2: 6} | dict.fromkeys((25, 26, 28, 29, 31, 32), 7.5)
    write(tmp_path / "rubric.csv", ["question_id", "max_points", "criteria"], [[n, p, "-"] for n, p in most.items()])

    def judge(body):
        text = body["messages"][-1]["content"]
        return "Points: [[1.5]]" if "What is 4 + 4?" in text else "Points: [[2]]"

    with scripted.ScriptedJudge(judge, faults={"429": 0.2}) as server:
        graded = ["score", "hungarian_exam:hungarian_exam_judged", "graded.csv", "--data-root", "mirror"]
        graded += ["--set", "hungarian_exam.rubric=rubric.csv", "--set", "judge.model=scripted", "--to", "judged.jsonl"]
        graded += ["--set", f"judge.base_url={server.base_url}"]
        told = harness(*graded, cwd=tmp_path)
        assert told.startswith("hungarian_exam_judged, judge-1: 59.5 of 100\n33 of 33 items scored\n")
        bought = server.fates["answered"]
        harness(*graded, cwd=tmp_path)
        assert server.fates["answered"] == bought == 33
    told = json.loads(harness("judge", "agreement", "graded.csv", "judged.jsonl", "--json", cwd=tmp_path))
    assert told["answers"] == 33
    assert told["error"]["value"] == pytest.approx(0.5 / 33)
    assert [(of["human"], of["judged"]) for of in told["totals"].values()] == [(60, 59.5)]
