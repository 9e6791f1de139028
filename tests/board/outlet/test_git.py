"""Sending a board to a git folder, with git itself."""

import shutil
from contextlib import contextmanager

import pytest

from harness.board import ledger
from harness.board.check import check_leaderboards
from harness.board.outlet import git
from harness.errors import Failure, UserError


@pytest.fixture
def clone(tmp_path, monkeypatch, do):
    """A clone with a commit, of a bare repository; its folder `boards` is where boards go."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    do.git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    do.git(tmp_path, "clone", "--quiet", "origin.git", "clone")
    clone = tmp_path / "clone"
    for key, value in (("user.name", "a"), ("user.email", "a@example.org")):
        do.git(clone, "config", key, value)
    (clone / "README.md").write_text("hello")
    do.git(clone, "add", "README.md")
    do.git(clone, "commit", "--quiet", "--message", "begin")
    do.git(clone, "push", "--quiet", "origin", "HEAD")
    return clone


class Killed(BaseException):
    """Nothing runs after it, as after a signal that cannot be caught."""


@pytest.fixture
def kill(monkeypatch):
    """`with kill(after=3):` the fourth file that is written into the clone is one too many."""

    @contextmanager
    def kill(after):
        left, whole = iter(range(after)), git.write_atomically

        def killed(path, content):
            if next(left, None) is None:
                raise Killed
            whole(path, content)

        with monkeypatch.context() as patched:
            patched.setattr(git, "write_atomically", killed)
            yield

    return kill


def test_one_commit_holds_what_belongs_and_nothing_else(public, belongs, clone, do):
    (clone / "README.md").write_text("changed and not ours")
    said = do.publish(clone / "boards", public).stdout
    commit = do.git(clone, "rev-parse", "HEAD")
    assert said == f"{clone / 'boards'}: {len(belongs)} added, commit {commit[:12]}\n"
    assert do.git(clone, "log", "--format=%s", "-1") == "Publish 2 rows"
    assert do.git(clone, "rev-list", "--count", "HEAD") == "2"
    assert do.files(clone / "boards") == belongs
    assert set(do.git(clone, "show", "--format=", "--name-only").splitlines()) == {f"boards/{name}" for name in belongs}
    assert do.git(clone, "status", "--porcelain") == "M README.md"


def test_a_dry_run_says_exactly_what_the_commit_then_does(public, belongs, clone, do):
    before = do.git(clone, "rev-parse", "HEAD")
    result = do.publish(clone / "boards", public, "--dry-run")
    assert result.stdout.splitlines() == [f"+ {name}" for name in sorted(belongs)]
    assert result.stderr == f"{clone / 'boards'}: {len(belongs)} added; nothing was sent\n"
    assert do.git(clone, "rev-parse", "HEAD") == before
    assert not (clone / "boards").exists()


def test_a_second_time_sends_only_what_is_new_and_removes_pages_that_are_gone(run, public, clone, do):
    do.publish(clone / "boards", public)
    (clone / "boards/site/page/old.html").write_text("of an earlier site")
    do.git(clone, "add", ".")
    do.git(clone, "commit", "--quiet", "--message", "an earlier site")
    before = do.files(clone / "boards")
    do.add(run, public, "dmt+im")
    foretold = do.publish(clone / "boards", public, "--dry-run").stdout.splitlines()
    do.publish(clone / "boards", public, "--message", "one more")
    after = do.files(clone / "boards")
    done = [f"+ {name}" for name in sorted(after.keys() - before.keys())]
    done += [f"~ {name}" for name in sorted(after.keys() & before.keys()) if after[name] != before[name]]
    done += [f"- {name}" for name in sorted(before.keys() - after.keys())]
    assert foretold == done
    site = [f"~ site/{name}" for name in ("board.csv", "board.json", "index.html", "ledger.jsonl")]
    assert [line for line in done if line[0] != "+"] == [
        "~ board.json",
        "~ ledger.jsonl",
        *site,
        "- site/page/old.html",
    ]
    assert do.git(clone, "log", "--format=%s", "-1") == "one more"
    assert do.publish(clone / "boards", public).stdout == f"{clone / 'boards'} is up to date\n"
    assert do.git(clone, "rev-list", "--count", "HEAD") == "4"


def test_it_pushes_only_where_that_is_asked_for(public, clone, do):
    origin = clone.parent / "origin.git"
    before = do.git(origin, "rev-parse", "main")
    do.publish(clone / "boards", public)
    assert do.git(origin, "rev-parse", "main") == before
    assert "pushed" in do.publish(clone / "boards", public, "--push").stdout
    assert do.git(origin, "rev-parse", "main") == do.git(clone, "rev-parse", "HEAD") != before


def test_a_push_that_fails_keeps_the_commit_and_says_so(public, clone, do):
    shutil.rmtree(clone.parent / "origin.git")
    with pytest.raises(Failure, match=r"committed in .*boards and not pushed: git push in .* failed"):
        do.publish(clone / "boards", public, "--push")
    assert do.git(clone, "log", "--format=%s", "-1") == "Publish 2 rows"


def test_a_commit_that_a_hook_refuses_is_told_in_gits_words(public, clone, belongs, do):
    hook = clone / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho no boards here >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Failure, match=r"git commit in .* failed: no boards here"):
        do.publish(clone / "boards", public)
    assert do.git(clone, "rev-list", "--count", "HEAD") == "1"
    hook.unlink()
    do.publish(clone / "boards", public)
    assert do.files(clone / "boards") == belongs
    assert do.git(clone, "status", "--porcelain") == ""


def test_a_folder_that_git_ignores_is_told_and_then_sent(public, clone, belongs, do):
    (clone / ".gitignore").write_text("site/\n")
    with pytest.raises(Failure, match=r"git add in .* failed: The following paths are ignored"):
        do.publish(clone / "boards", public)
    (clone / ".gitignore").unlink()
    assert "commit" in do.publish(clone / "boards", public).stdout
    assert do.files(clone / "boards") == belongs


@pytest.mark.parametrize("written", [0, 1, 5])
def test_what_a_killed_command_wrote_is_committed_by_the_same_command(public, clone, do, written, kill):
    do.publish(clone / "boards", public)
    (clone / "boards/site/page/old.html").write_text("of an earlier site")
    do.git(clone, "add", ".")
    do.git(clone, "commit", "--quiet", "--message", "an earlier site")
    ledger.retract(ledger.read_ledger(public)[0].row, public, "a trial")
    with kill(after=written), pytest.raises(Killed):
        do.publish(clone / "boards", public)
    (clone / "boards/site/page/old.html").unlink()
    do.publish(clone / "boards", public)
    assert do.git(clone, "status", "--porcelain") == ""
    assert check_leaderboards(clone / "boards", copy=True) == []
    assert do.git(clone, "rev-list", "--count", "HEAD") == "4"
    assert not (clone / "boards/site/page/old.html").exists()


def test_the_boards_own_folder_may_be_the_one_in_the_clone(public, belongs, clone, run, do):
    own = clone / "leaderboards"
    shutil.copytree(public, own)
    do.publish(own, own)
    listed = do.git(clone, "show", "--format=", "--name-only").split()
    assert listed == sorted(f"leaderboards/{name}" for name in belongs if not name.startswith("site/"))
    do.add(run, own, "dmt+im")
    do.publish(own, own)
    assert do.git(clone, "log", "--format=%s", "-1") == "Publish 1 row"
    assert "leaderboards/README.md" in do.git(clone, "status", "--porcelain", "--untracked-files=all")


def test_the_clone_itself_may_be_the_folder(public, belongs, clone, do):
    do.publish(clone, public)
    assert do.files(clone) == belongs | {"README.md": b"hello"}
    assert "up to date" in do.publish(clone, public).stdout


def test_an_empty_repository_takes_a_board(public, tmp_path, monkeypatch, do):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    do.git(tmp_path, "init", "--quiet", "empty")
    do.publish(tmp_path / "empty", public)
    assert do.git(tmp_path / "empty", "rev-list", "--count", "HEAD") == "1"


def test_another_ledger_is_not_written_over(run, public, clone, do):
    other = clone.parent / "other"
    do.add(run, other, "dmt+im")
    do.publish(clone / "boards", other)
    with pytest.raises(UserError, match="has entries that this one has not"):
        do.publish(clone / "boards", public)
    assert do.git(clone, "rev-list", "--count", "HEAD") == "2"


def test_changes_of_others_in_the_folder_are_not_swallowed(public, clone, do):
    do.publish(clone / "boards", public)
    (clone / "boards" / "board.json").write_text("mine")
    with pytest.raises(UserError, match=r"boards has changes that are not committed: board\.json"):
        do.publish(clone / "boards", public)
    assert (clone / "boards" / "board.json").read_text() == "mine"


@pytest.mark.parametrize("path", ["notes ü.txt", "site/page/mine.html", "rows/mine.json"])
def test_new_files_of_others_are_not_swallowed(public, clone, do, path):
    do.publish(clone / "boards", public)
    (clone / "boards" / path).write_text("mine")
    with pytest.raises(UserError, match=rf"not committed: {path}"):
        do.publish(clone / "boards", public)
    assert (clone / "boards" / path).read_text() == "mine"


def test_a_row_that_somebody_removed_is_not_removed_there(public, clone, do):
    do.publish(clone / "boards", public)
    row = next((clone / "boards" / "rows").iterdir())
    row.unlink()
    with pytest.raises(UserError, match=rf"not committed: rows/{row.name}"):
        do.publish(clone / "boards", public)


def test_a_board_that_does_not_check_goes_nowhere(public, clone, do):
    row = next(public.glob("rows/*.json"))
    row.write_text(row.read_text().replace('"cores"', '"kernels"').replace('"harness run', '"harness ran'))
    with pytest.raises(Failure, match=r"does not hold, so it is not sent: "):
        do.publish(clone / "boards", public)
    assert do.git(clone, "rev-list", "--count", "HEAD") == "1"


def test_retracted_rows_stay_in_the_ledger_and_so_in_what_is_sent(public, clone, do):
    row = ledger.read_ledger(public)[0].row
    ledger.retract(row, public, "a trial")
    do.publish(clone / "boards", public)
    assert (clone / "boards" / "rows" / f"{row}.json").exists()
    assert check_leaderboards(clone / "boards", copy=True) == []


def test_places_that_are_none_are_named(public, tmp_path, clone, do):
    with pytest.raises(UserError, match="nowhere is in no git clone"):
        do.publish(tmp_path / "nowhere", public)
    with pytest.raises(UserError, match="s3://bucket is nowhere that boards are sent to"):
        do.publish("s3://bucket", public)
    with pytest.raises(UserError, match=r"holds no ledger\.jsonl"):
        do.publish(clone, tmp_path)
