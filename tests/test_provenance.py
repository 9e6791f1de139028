"""What a job ran with and on."""

import subprocess
from pathlib import Path

import pytest

from harness import provenance

CHECKOUT = (Path(provenance.__file__).parents[1] / ".git").exists()


@pytest.fixture(autouse=True)
def forgotten():
    provenance.git_state.cache_clear()
    yield
    provenance.git_state.cache_clear()


@pytest.mark.skipif(not CHECKOUT, reason="the harness does not run from a git checkout here")
def test_a_checkout_that_git_cannot_read_counts_as_dirty(monkeypatch, tmp_path):
    state = provenance.git_state()
    assert len(state["commit"]) == 40
    provenance.git_state.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state() == {"commit": "unknown", "dirty": True}


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """A checkout of its own, clean."""
    for name in ("harness/provenance.py", "leaderboards/ledger.jsonl", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("as committed\n")
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "harness" / "provenance.py"))
    return tmp_path


@pytest.mark.parametrize("name", ["mine.jsonl", "leaderboards/ledger.jsonl", "leaderboards/board.json"])
def test_what_no_result_depends_on_leaves_a_checkout_clean(checkout, name):
    (checkout / name).write_text("new\n")
    assert provenance.git_state()["dirty"] is False


@pytest.mark.parametrize("name", ["README.md", "harness/provenance.py", "harness/new.py", "plugins/mine.py"])
def test_changes_and_untracked_files_among_what_is_installed_are_dirty(checkout, name):
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("new\n")
    assert provenance.git_state()["dirty"] is True


def test_code_outside_a_checkout_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "harness" / "provenance.py"))
    assert provenance.git_state() is None


def test_what_is_recorded_of_the_machine():
    found = provenance.surroundings()
    assert found["packages"]["torch"]
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gib"] > 0
