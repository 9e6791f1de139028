"""Files of older versions are read as they stand and never rewritten; those of newer ones are refused by name."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from harness.board import ledger
from harness.board.board import Board
from harness.board.build import arm_samples, build_row
from harness.board.chain import read_chain
from harness.board.check import check_leaderboards
from harness.board.publish import read_board, read_row, write_run
from harness.board.rows import Row, row_path
from harness.board.versions import newest
from harness.errors import UserError

PUBLISHED = Path(__file__).parents[2] / "leaderboards"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(PUBLISHED, tmp_path / "leaderboards"))


def published(folder):
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (folder / "rows").iterdir()}


def test_the_published_rows_are_of_the_first_version_and_keep_their_ids():
    rows = published(PUBLISHED)
    assert {row["schema_version"] for row in rows.values()} == {1}
    for name, row in rows.items():
        assert read_row(PUBLISHED, row["id"]).id == name.removesuffix(".json")


@pytest.mark.parametrize("version", range(1, newest(Row) + 1))
def test_a_row_of_every_version_is_read(maker, info, version):
    """A row that uses nothing of what came later is the same in all of them, its digest too."""
    arm = maker.arm("sft", {"chat": 0.5}, n=5)
    row = build_row(arm, info, arm_samples(arm)).model_dump(mode="json")
    if version < 2:
        del row["measured"]["device_hours"], row["measured"]["restarted"]
    read = Row.model_validate_json(json.dumps({**row, "schema_version": version}))
    assert (read.schema_version, read.id) == (version, row["id"])


def test_publishing_beside_older_rows_rewrites_none_of_them(folder, maker, info):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "board.json"}
    samples = arm_samples(arm := maker.arm("sft", {"chat": 0.5}, n=5))
    row = build_row(arm, info, samples)
    ledger.add(row, samples, folder)
    ledger.retract(row.id, folder, "a trial")
    ledger.write_derived(folder)
    lines = before.pop(folder / "ledger.jsonl")
    assert (folder / "ledger.jsonl").read_bytes().startswith(lines)
    assert {path: path.read_bytes() for path in before} == before
    assert check_leaderboards(folder) == []


def test_an_older_board_is_checked_in_what_it_knew(folder):
    """What it says must follow; what came later it cannot say."""
    ledger.write_derived(folder)
    path = folder / "board.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    (board,) = content["boards"]
    board["schema_version"] = 1
    for line in board["lines"]:
        del line["device_hours"], line["restarted"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert check_leaderboards(folder) == []
    board["lines"][0]["rank"] = 3
    path.write_text(json.dumps(content), encoding="utf-8")
    assert check_leaderboards(folder) == ["board.json: boards[0].lines[0].rank is 3, and should be 1"]
    board["lines"][0]["rank"] = 1
    board["schema_version"] = newest(Board)
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "board.json: boards[0].lines[0].restarted is missing, and should be []" in check_leaderboards(folder)


def newer(path, model):
    """Make a file one of the version after this code's, with something that this code knows nothing of."""
    content = json.loads(path.read_text(encoding="utf-8")) | {"schema_version": newest(model) + 1, "novelty": True}
    path.write_text(json.dumps(content), encoding="utf-8")
    return newest(model) + 1


def test_a_newer_row_asks_for_an_upgrade(folder):
    row_id = read_chain(folder).entries[0].row
    version = newer(row_path(folder, row_id), Row)
    with pytest.raises(UserError) as error:
        read_row(folder, row_id)
    assert str(error.value) == (
        f"{row_path(folder, row_id)} has schema_version {version}, which this version of instruct-harness does not know"
        " (upgrade it: pip install --upgrade instruct-harness)"
    )
    assert any("upgrade it" in finding for finding in check_leaderboards(folder))


def test_a_newer_board_asks_for_an_upgrade_and_is_not_replaced(folder):
    newer(folder / "board.json", ledger.Published)
    before = (folder / "board.json").read_bytes()
    with pytest.raises(UserError, match="upgrade it"):
        ledger.retract(read_chain(folder).entries[0].row, folder, "a trial")
    assert (folder / "board.json").read_bytes() == before
    assert len(read_chain(folder).entries) == 5
    assert any("upgrade it" in finding for finding in check_leaderboards(folder))


def test_a_newer_board_inside_is_found_too(folder):
    path = folder / "board.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["boards"][0] |= {"schema_version": newest(Board) + 1, "novelty": True}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=f"has schema_version {newest(Board) + 1}, which"):
        ledger.read_published(folder)


def test_a_newer_run_asks_for_an_upgrade(arms, info, tmp_path):
    write_run(tmp_path, arms, info)
    newer(tmp_path / "leaderboard.json", Board)
    with pytest.raises(UserError, match="upgrade it"):
        read_board(tmp_path)


@pytest.mark.parametrize("version", [0, -1, "3", None])
def test_what_is_no_version_is_no_row(folder, version):
    row_id = read_chain(folder).entries[0].row
    path = row_path(folder, row_id)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"schema_version": version}))
    with pytest.raises(UserError, match="is not a row: schema_version"):
        read_row(folder, row_id)


# --- the schemas hold for what is published --------------------------------------------------------------------------


def validator(name):
    schema = json.loads((PUBLISHED / "schema" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schemas_hold_for_the_published_files_of_all_versions():
    for row in published(PUBLISHED).values():
        validator("row.schema.json").validate(row)
    for line in (PUBLISHED / "ledger.jsonl").read_text(encoding="utf-8").splitlines():
        validator("ledger-entry.schema.json").validate(json.loads(line))
    validator("board.schema.json").validate(json.loads((PUBLISHED / "board.json").read_text(encoding="utf-8")))


def test_the_schemas_hold_for_what_is_written_now(arms, info, tmp_path):
    board = write_run(tmp_path, arms, info)
    validator("leaderboard.schema.json").validate(json.loads((tmp_path / "leaderboard.json").read_text()))
    for line in board.lines:
        validator("row.schema.json").validate(json.loads(row_path(tmp_path, line.row).read_text()))


def test_the_schemas_refuse_what_they_should(folder):
    row = next(iter(published(folder).values()))
    for wrong in ({**row, "id": "../row"}, {**row, "schema_version": 99}, {**row, "novelty": 1}):
        assert not validator("row.schema.json").is_valid(wrong)


def test_each_schema_says_which_version_it_is():
    identities = {path.name: json.loads(path.read_text())["$id"] for path in (PUBLISHED / "schema").iterdir()}
    assert identities["row.schema.json"] == f"urn:instruct-harness:row:{newest(Row)}"
    assert identities["leaderboard.schema.json"] == f"urn:instruct-harness:leaderboard:{newest(Board)}"
