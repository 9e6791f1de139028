"""CSV that a spreadsheet may open, and from which everything can be read back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.export.selection import Told, select
from harness.board.export.spreadsheet import COLUMNS, FORMULA, as_csv, cell
from harness.board.publish import write_run


def records(selection):
    (text,) = as_csv(selection, Told()).files.values()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_line_for_each_row_and_benchmark_with_the_numbers_of_the_board(selection):
    found = records(selection)
    assert len(found) == 3 * 4
    by_name = {(record["arm"], record["benchmark"]): record for record in found}
    for _, line, row in selection.lines():
        composite = by_name[line.arm, "composite"]
        assert float(composite["score"]) == row.result.composite.score
        for name, task in row.result.tasks.items():
            record = by_name[line.arm, name]
            assert float(record["score"]) == task.score
            assert (float(record["low"]), float(record["high"])) == (task.interval.low, task.interval.high)
            assert record["commit"] == "0" * 40
            found = line.cells[name].comparison
            if found is None:
                assert record["difference"] == record["mark"] == record["baseline"] == ""
            else:
                assert float(record["difference"]) == found.difference.value
                assert record["baseline"] == line.baseline


def test_a_negative_difference_stays_a_number(selection):
    differences = [record["difference"] for record in records(selection) if record["arm"] == "dmt"]
    assert any(value.startswith("-") for value in differences)
    assert all(float(value) < 1 for value in differences)


def test_marks_are_words(selection):
    marks = {record["mark"] for record in records(selection)}
    assert "worse" in marks
    assert marks <= {"better", "worse", "equal", "unknown", ""}


@pytest.mark.parametrize("beginning", FORMULA)
def test_a_text_that_a_spreadsheet_would_run_is_marked_as_text(maker, info, tmp_path, beginning):
    arm = f"{beginning}HYPERLINK(A1)"
    write_run(tmp_path / "run", [maker.arm(arm, {"=1+1": 0.5}, n=4, baseline=None)], info)
    found = records(select(tmp_path / "run"))
    assert {record["arm"] for record in found} == {f"'{arm}"}
    assert {record["benchmark"] for record in found} == {"composite", "'=1+1"}


@given(st.text())
def test_one_leading_apostrophe_taken_away_gives_every_text_back(text):
    written = cell(text)
    assert not written.startswith(tuple(sign for sign in FORMULA if sign != "'"))
    assert written.removeprefix("'") == text


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none()))
def test_numbers_are_left_alone(value):
    assert cell(value) is value


def test_the_header_is_the_same_whatever_is_known(maker, info, tmp_path):
    write_run(tmp_path / "run", [maker.arm("sft", {"chat": 0.5}, n=4)], info)
    (text,) = as_csv(select(tmp_path / "run"), Told()).files.values()
    assert tuple(text.splitlines()[0].split(",")) == COLUMNS
