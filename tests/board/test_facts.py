"""A row in which something is of another kind than everybody who reads it takes it for is no row."""

import json

import pytest

from harness.board.export.selection import select
from harness.board.publish import read_board, write_run
from harness.board.rows import row_path
from harness.canonical import digest
from harness.errors import HarnessError


@pytest.fixture
def with_fact(maker, info, tmp_path):
    """A run's folder whose only row says that at that place, with every digest computed again."""

    def with_fact(place, value):
        write_run(tmp_path, [maker.arm("sft", {"chat": 0.5}, n=4)], info)
        (line,) = read_board(tmp_path).lines
        row = json.loads(row_path(tmp_path, line.row).read_text(encoding="utf-8"))
        part = row["result"]
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = value
        row["id"] = digest(row["result"])
        row_path(tmp_path, row["id"]).write_text(json.dumps(row), encoding="utf-8")
        board = (tmp_path / "leaderboard.json").read_text(encoding="utf-8")
        (tmp_path / "leaderboard.json").write_text(board.replace(line.row, row["id"]), encoding="utf-8")
        return tmp_path

    return with_fact


SOURCE = ("data", 0, "source")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("engine",), None, "result.engine Input should be an object"),
        (("engine",), ["hf"], "result.engine Input should be an object"),
        (("engine",), {"dtype": "float32"}, "result.engine .*it has no name"),
        (("engine", "name"), ["hf"], r"result.engine .*name is \['hf'\], and not text"),
        (("model",), None, "result.model Input should be an object"),
        (("model", "id"), 5, "result.model .*id is 5, and not text"),
        (("model", "init"), "llama", "result.model .*init is 'llama', and not an object"),
        (("model", "parameters"), "7B", "result.model .*parameters is '7B', and not a whole number"),
        (("model", "parameters"), True, "result.model .*parameters is True, and not a whole number"),
        ((*SOURCE, "hub"), ["a/b"], r"result.data.0.source .*hub is \['a/b'\], and not text"),
    ],
)
def test_what_is_of_another_kind_is_refused_in_one_line(with_fact, place, value, said):
    with pytest.raises(HarnessError, match=f"is not a row.*{said}") as refused:
        select(with_fact(place, value))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("engine", "threads"), [1, {"of": 2}]),
        (("model", "id"), None),
        (("model", "commit"), 5),
        (SOURCE, None),
        (SOURCE, "a file"),
    ],
)
def test_what_is_unknown_or_nobody_reads_is_anything(with_fact, place, value):
    (row,) = select(with_fact(place, value)).rows.values()
    found = row.model_dump(mode="json")["result"]
    for step in place:
        found = found[step]
    assert found == value
