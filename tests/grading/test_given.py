"""Scores that a file brings become the numbers that a run's own would."""

import csv
import json
import subprocess
import sys

import pytest

from harness.grading.given import find, score_file


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


def test_the_command_prints_the_score_and_with_json_all_there_is(mirror):
    path = mirror / "keirp/hungarian_national_hs_finals_exam/human_grades_deepseek-67b-chat.csv"
    command = [sys.executable, "-m", "harness", "score", "hungarian_exam", str(path), "--data-root", str(mirror)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert told.splitlines()[:2] == ["hungarian_exam, human-1: 58 of 100", "33 of 33 items scored"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120, check=True).stdout
    assert json.loads(told)["score"] == pytest.approx(0.58)
