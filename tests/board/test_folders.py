"""A run's output folder given as a leaderboard, or a leaderboard as a run, is called what it is."""

import pytest
from typer.testing import CliRunner

from harness.board.folders import is_published, refuse_published
from harness.board.ledger import refuse_unpublished
from harness.board.publish import read_board, write_run
from harness.board.sources import sources
from harness.cli.board import app
from harness.reading.evaluations import evaluations

NOWHERE = "give a run's output folder, or a published leaderboard's"


@pytest.fixture
def public(tmp_path):
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "ledger.jsonl").touch()
    return folder


def test_the_two_kinds_are_told_apart(arms, info, public, tmp_path):
    write_run(tmp_path / "run", arms, info)
    assert is_published(public)
    assert not is_published(tmp_path / "run")
    refuse_published(tmp_path / "run", "no remedy is needed")


def test_what_is_neither_is_named_with_what_it_is(arms, info, public, refused, tmp_path):
    assert refused(is_published, tmp_path / "absent") == f"there is no folder {tmp_path / 'absent'} ({NOWHERE})"
    file = public / "ledger.jsonl"
    assert refused(is_published, file) == f"{file} is a file (give the folder it lies in: {public})"
    assert refused(is_published, tmp_path) == (
        f"{tmp_path} holds neither the leaderboard.json of a run nor the ledger.jsonl of a published board ({NOWHERE})"
    )
    write_run(tmp_path / "run", arms, info)
    assert refused(is_published, tmp_path).endswith(f"(it holds runs: give one of them, such as {tmp_path / 'run'})")


def test_a_published_leaderboard_is_no_run(public, refused, tmp_path):
    said = f"{public} is a published leaderboard, and no run's output folder"
    for refusal in (
        refused(sources, [str(public)], None, tmp_path),
        refused(sources, [], public, tmp_path),
        refused(evaluations, public, tmp_path / "store"),
    ):
        assert refusal.startswith(said)
        assert f"with --board {public}" in refusal


def test_a_run_is_no_published_leaderboard(arms, info, public, refused, tmp_path):
    run = tmp_path / "run"
    write_run(run, arms, info)
    assert refused(refuse_unpublished, run) == (
        f"{run} is a run's output folder, and no published leaderboard (harness board add {run} publishes its rows)"
    )
    assert refused(read_board, public) == (
        f"{public} is a published leaderboard, and no run's output folder (give the output folder of a finished run)"
    )


PAGED = (
    ["show", "PAGE"],
    ["check", "PAGE"],
    ["serve", "PAGE", "--port", "0"],
    ["build", "PAGE"],
    ["export", "PAGE", "--format", "csv", "--out", "-"],
    ["publish", "hf://datasets/owner/board", "PAGE"],
    ["add", "RUN", "--to", "PAGE"],
    ["retract", "0123", "--why", "a trial", "--to", "PAGE"],
)


@pytest.mark.parametrize("command", PAGED, ids=lambda command: command[0])
def test_the_page_of_a_published_leaderboard_is_none(arms, info, tmp_path, command):
    """Its ledger and board lie beside it, and its rows are packed."""
    run, public, page = (tmp_path / name for name in ("run", "public", "public-site"))
    write_run(run, arms, info)
    board = CliRunner()
    assert board.invoke(app, ["add", str(run), "--to", str(public)]).exit_code == 0
    assert board.invoke(app, ["build", str(public)]).exit_code == 0
    files = sorted(page.rglob("*"))
    result = board.invoke(app, [{"PAGE": str(page), "RUN": str(run)}.get(word, word) for word in command])
    assert str(result.exception) == (
        f"{page} is the page of a published leaderboard, and holds no rows "
        f"(open {page / 'index.html'} in a browser, or give the leaderboard that it was made of)"
    )
    assert sorted(page.rglob("*")) == files


def test_where_a_row_was_looked_for_is_said(public, refused, tmp_path):
    absent = tmp_path / "absent"
    assert refused(evaluations, "0123abcd", tmp_path / "store", absent) == (
        f"0123abcd is no run, and {absent} no published leaderboard with a row that begins so "
        "(give a run folder, or the leaderboard with --board DIR)"
    )
    assert refused(evaluations, "0123abcd", tmp_path / "store", public) == (
        f"no row of {public} has an id beginning with '0123abcd' (harness board show {public} lists them)"
    )
