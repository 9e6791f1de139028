"""`harness board check --since`: the ledger only grows."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.board import ledger
from harness.board.check import check_leaderboards
from harness.board.history import rewritten
from harness.errors import UserError

PUBLISHED = Path(__file__).parents[2] / "leaderboards"


def git(folder, *arguments):
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture
def checkout(tmp_path):
    """A repository whose commit `before` has the published leaderboard, in a folder below its top."""
    top = tmp_path / "top"
    shutil.copytree(PUBLISHED, top / "deep" / "leaderboards")
    git(tmp_path, "init", "--quiet", str(top))
    git(top, "commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    git(top, "tag", "empty")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "--message", "rows")
    git(top, "tag", "before")
    return top / "deep" / "leaderboards"


@pytest.fixture(params=["commit", "file", "folder"])
def since(request, checkout, tmp_path):
    """The three ways to name what the ledger was."""
    shutil.copytree(checkout, tmp_path / "older")
    names = {"commit": "before", "file": tmp_path / "older" / "ledger.jsonl", "folder": tmp_path / "older"}
    return str(names[request.param])


def test_an_appended_ledger_goes_on(checkout, since):
    assert check_leaderboards(checkout, since) == []
    ledger.retract(ledger.read_ledger(checkout)[0].row, checkout, "a trial")
    assert check_leaderboards(checkout, since) == []


def test_from_nothing_every_ledger_goes_on(checkout, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert check_leaderboards(checkout, "empty") == []
    assert check_leaderboards(checkout, str(tmp_path / "nothing")) == []


def test_a_ledger_written_anew_is_found(checkout, since):
    """All of it, with digests that agree; nothing but the older one tells."""
    shutil.rmtree(checkout / "rows")
    shutil.rmtree(checkout / "samples")
    (checkout / "ledger.jsonl").write_bytes(b"")
    (checkout / "board.json").unlink()  # with which build would tell of lost entries
    ledger.write_derived(checkout)
    assert check_leaderboards(checkout) == []
    (finding,) = check_leaderboards(checkout, since)
    assert finding.startswith(f"ledger.jsonl:1 is not what it was in {since}")


def test_a_folder_replaced_by_a_link_is_found(checkout, since):
    """To a folder that goes on from itself, whatever is put there later."""
    moved = checkout.rename(checkout.with_name("elsewhere"))
    checkout.symlink_to(moved)
    assert f"{checkout} is a link, and not a folder of its own" in check_leaderboards(checkout, since)


def test_an_entry_lost_at_the_end_is_found(checkout, since):
    path = checkout / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert [one.partition(" ")[0] for one in rewritten(checkout, since)] == ["ledger.jsonl:5"]


def test_a_changed_entry_is_found(checkout, since):
    path = checkout / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"reason":""', b'"reason":"x"', 1))
    assert check_leaderboards(checkout, since)[0].startswith("ledger.jsonl:1 is not what it was")


@pytest.mark.parametrize("name", ["nowhere", "--output=/tmp/x", "HEAD:deep", ""])
def test_what_is_neither_file_nor_commit_is_named(checkout, name):
    with pytest.raises(UserError, match="is no file, no folder, and no commit"):
        check_leaderboards(checkout, name)


def test_outside_a_checkout_a_commit_is_none(tmp_path):
    folder = shutil.copytree(PUBLISHED, tmp_path / "leaderboards")
    with pytest.raises(UserError, match="is no file, no folder, and no commit"):
        check_leaderboards(folder, "main")


def test_as_it_is_typed(checkout, capsys):
    from harness.cli.board import check
    from harness.errors import Failure

    check(checkout, since="before", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"folder": str(checkout), "findings": []}
    (checkout / "stray").write_text("")
    with pytest.raises(Failure, match=r"1 thing in .* did not hold"):
        check(checkout, since="before", as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"] == ["stray is named by no entry of the ledger"]
