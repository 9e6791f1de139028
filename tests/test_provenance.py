"""What a job ran with and on."""

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


def test_code_outside_a_checkout_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "harness" / "provenance.py"))
    assert provenance.git_state() is None


def test_what_is_recorded_of_the_machine():
    found = provenance.surroundings()
    assert found["packages"]["torch"]
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gib"] > 0
