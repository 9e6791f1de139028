"""The whole way of an answer to its grade: a run, a sheet, somebody's points, and the run again."""

import csv
import json

import pytest

from harness.grading.ungraded import ungraded
from harness.testing import tiny_model


@pytest.fixture(scope="module")
def work(tmp_path_factory, command):
    """A folder with a small model and an exam of our own; `work(...)` gives what a command prints there."""
    folder = tmp_path_factory.mktemp("work")
    exam = folder / "mirror/keirp/hungarian_national_hs_finals_exam"
    exam.mkdir(parents=True)
    with (exam / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Question"], *([f"What is $\\frac{{{n}}}{{2}}$?"] for n in range(1, 34))])
    tiny_model(folder / "tiny")

    def work(*arguments, fails=False):
        process = command(*arguments, "--data-root", "mirror", cwd=folder, env={"HARNESS_STORE": "store"})
        out, err = process.communicate(timeout=200)
        assert (process.returncode != 0) == fails, err
        return err if fails else out

    work.folder = folder
    return work


RUN = ["run", "--plugins", "base", "--no-baseline", "--seeds", "1", "--out", "exam", "--set", "model=tiny/model"]
RUN += ["--set", "benchmarks=[hungarian_exam]", "--set", "hungarian_exam.max_new_tokens=8"]


@pytest.mark.timeout(300)
def test_answers_go_out_on_a_sheet_and_come_back_as_a_score(work):
    run, mirror = work.folder / "exam", work.folder / "mirror"
    work(*RUN)
    (task,) = results(run)
    assert (task["score"], task["outcomes"]) == (None, {"ungraded": 33})

    (answers,) = ungraded([run, run], mirror).values()
    assert [answer.question_id for answer in answers] == [str(n) for n in range(1, 34)]
    assert answers[3].question == "What is $\\frac{4}{2}$?"

    told = work("sheet", "exam")
    assert "33 answers to grade, in grading/hungarian_exam.html or in grading/hungarian_exam.csv" in told
    assert "may hold grades" in work("sheet", "exam", fails=True)

    points = dict.fromkeys(range(1, 34), 2) | {26: 0.5, 33: 5}
    left = graded(work.folder, points, leave=(7, 30))
    work(*RUN, "--set", f"hungarian_exam.grades={left}")
    (task,) = results(run)
    assert (task["score"], task["outcomes"]) == (None, {"truncated_output": 31, "ungraded": 2})
    assert [answer.question_id for answer in ungraded([run], mirror)["hungarian_exam"]] == ["7", "30"]

    rest = graded(work.folder, points, only=(7, 30))
    work(*RUN, "--set", f"hungarian_exam.grades=[{left},{rest}]")
    (task,) = results(run)
    assert task["score"] == pytest.approx((24 * 2 + 4.5 + 6 + 9 - 4.5) / 100)
    assert ungraded([run], mirror) == {"hungarian_exam": []}
    assert work("sheet", "exam") == "hungarian_exam: every answer is graded\n"
    assert "every number follows from its samples" in check(work)


@pytest.mark.timeout(300)
def test_the_answers_of_a_suite_go_out_on_a_sheet(work):
    suite = {"name": "finals", "version": 1, "summary": "The finals alone.", "benchmarks": ["hungarian_exam"]}
    (work.folder / "finals.yaml").write_text(json.dumps(suite))
    short = ["--set", "hungarian_exam.max_new_tokens=8"]
    told = work("eval", "tiny/model", "--suite", "finals.yaml", "--limit", "4", "--out", "asked", *short)
    assert "hungarian_exam: people have yet to grade it: harness sheet asked" in " ".join(told.split())
    assert "4 answers to grade" in work("sheet", "asked", "--to", "of-a-suite")


def results(run):
    return [json.loads(path.read_text())["result"]["tasks"]["hungarian_exam"] for path in (run / "rows").glob("*.json")]


def graded(folder, points, *, leave=(), only=None):
    """The sheet, filled in by somebody whose spreadsheet writes decimal commas."""
    with (folder / "grading/hungarian_exam.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    path = folder / f"graded-{'all' if only is None else 'rest'}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0]])
        writer.writeheader()
        for row in rows:
            n = int(row["question_id"])
            given = n not in leave if only is None else n in only
            writer.writerow({**row, "points": f"{points[n]:g}".replace(".", ",") if given else ""})
    return path.name


def check(work):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "harness", "board", "check", "exam"],
        cwd=work.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(120)
def test_what_nobody_has_to_grade_is_said_so(work, tiny_run, refused):
    assert ungraded([tiny_run / "run"], None) == {}
    assert "holds no leaderboard" in refused(ungraded, [work.folder], None)
