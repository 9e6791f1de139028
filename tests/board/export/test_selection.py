"""Which rows are exported, and what may be said of each."""

from dataclasses import replace
from datetime import datetime

import pytest

from harness.board import ledger
from harness.board.export.selection import Told, base_model, file_name, hub_model, model_name, select
from harness.board.publish import write_run
from harness.errors import UserError


def arms_of(selection):
    return sorted(line.arm for _, line, _ in selection.lines())


def test_all_rows_or_those_named_by_arm_or_the_beginning_of_an_id(run):
    whole = select(run)
    assert arms_of(whole) == ["dmt", "dmt+im", "sft"]
    assert arms_of(select(run, ["dmt"])) == ["dmt"]
    row = next(line.row for _, line, _ in whole.lines() if line.arm == "sft")
    assert arms_of(select(run, ["dmt", row[:10]])) == ["dmt", "sft"]
    assert set(select(run, ["sft"]).rows) == {row}


def test_the_baseline_of_a_chosen_row_is_known_where_it_is_not_chosen(run):
    chosen = select(run, ["dmt"])
    assert [line.arm for line in chosen.baselines.values()] == ["sft"]
    assert select(run).baselines == {}


def test_names_that_fit_nothing_and_folders_without_rows_are_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"has no row 'dtm' .*dmt, dmt\+im, sft"):
        select(run, ["dmt", "dtm"])
    with pytest.raises(UserError, match="has no row ''"):
        select(run, [""])
    with pytest.raises(UserError, match="holds neither the leaderboard"):
        select(tmp_path)


def test_a_published_row_was_recorded_when_the_ledger_says_so(published):
    selection = select(published)
    at = {entry.row: datetime.fromisoformat(entry.at).timestamp() for entry in ledger.read_ledger(published)}
    assert selection.recorded == at


def test_a_row_off_the_board_is_not_exported(published):
    row = next(line.row for _, line, _ in select(published).lines() if line.arm == "dmt")
    ledger.retract(row, published, "a trial")
    assert arms_of(select(published)) == ["dmt+im", "sft"]
    with pytest.raises(UserError, match="has no row 'dmt'"):
        select(published, ["dmt"])


def test_scores_are_read_from_where_the_rows_are(run, published):
    for folder in (run, published):
        selection = select(folder)
        for row in selection.rows.values():
            scores = selection.scores_of(row, "chat", 0).values()
            assert sum(one.value for one in scores) / len(scores) == pytest.approx(row.result.tasks["chat"].score)


def untrained(arm):
    return replace(arm, seeds=tuple(replace(seed, train=()) for seed in arm.seeds))


def test_a_model_has_a_hub_id_where_one_is_told_or_it_was_taken_from_there_untrained(maker, info, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=4)
    base = untrained(maker.arm("base", {"chat": 0.5}, n=4))
    asked_otherwise = untrained(maker.arm("base+hints", {"chat": 0.6}, n=4))
    hub = {"id": "owner/model", "revision": "abc", "init": None}
    write_run(tmp_path / "run", [arm, base, asked_otherwise], replace(info, model=hub))
    rows = {row.result.arm: row for row in select(tmp_path / "run").rows.values()}
    assert hub_model(rows["base"], Told()) == "owner/model"
    assert hub_model(rows["sft"], Told()) is None
    assert hub_model(rows["base+hints"], Told()) is None
    assert base_model(rows["sft"]) == "owner/model"
    assert model_name(rows["sft"], Told()) == f"sft@{rows['sft'].id[:12]}"
    assert model_name(rows["sft"], Told(models={rows["sft"].id: "owner/tuned"})) == "owner/tuned"


@pytest.mark.parametrize("model", [{"init": {}, "id": None}, {"id": "gpt", "server": "host/v1"}, {"id": None}])
def test_models_made_on_the_spot_served_or_from_a_folder_have_none(maker, info, tmp_path, model):
    write_run(tmp_path / "run", [maker.arm("sft", {"chat": 0.5}, n=4)], replace(info, model=model))
    assert base_model(next(iter(select(tmp_path / "run").rows.values()))) is None


def test_a_file_is_named_by_arm_and_row_whatever_the_arm_is_called(selection):
    _, line, _ = selection.lines()[0]
    named = file_name(line.model_copy(update={"arm": "../a b/" + "x" * 300}), ".json")
    assert "/" not in named
    assert len(named) < 120
    assert named.endswith(f"-{line.row[:12]}.json")
