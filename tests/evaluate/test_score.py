import pytest

from harness.canonical import canonical
from harness.evaluate.score import _records
from harness.jobs import ANSWERS


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n"])
def test_an_answer_may_hold_whatever_ends_lines_elsewhere(tmp_path, end):
    records = [{"id": str(n), "rounds": [[{"text": f"one{end}two {n}"}]]} for n in range(3)]
    (tmp_path / ANSWERS).write_text("".join(canonical(record) + "\n" for record in records), encoding="utf-8")
    assert _records(tmp_path) == records
