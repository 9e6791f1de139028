from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.resolve import Places
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.settings import Setting


@pytest.fixture
def planned(tmp_path):
    """Plans a recipe, with `settings` as after `--set`; returns the plan and where things lie."""

    def make(recipe="playground", *settings, plugins=("im,dmt",), cache=None):
        parsed = [Setting.parse(text) for text in settings]
        resolved = load(str(recipe), parsed, list(plugins))
        places = Places(None, cache or tmp_path / "cache")
        arms = choose_arms(resolved, list(plugins), parsed, baseline=True, factorial=False)
        return build(resolved, arms, places), places

    return make


@pytest.fixture
def machine(monkeypatch):
    """Gives the estimate a machine: `machine(gib=24)`, or with GPUs."""
    from harness.estimate import fit, history
    from harness.inventory import Gpu

    def have(gib, gpu=None, count=1):
        found = (Gpu(*gpu),) * count if gpu else ()
        monkeypatch.setattr(fit, "memory_bytes", lambda: gib * 2**30)
        for module in (fit, history):
            monkeypatch.setattr(module, "gpus", lambda: found)

    return have


@pytest.fixture
def chats(tmp_path) -> Path:
    """A file of 2,000 conversations of 400 characters."""
    import json

    path = tmp_path / "chats.jsonl"
    row = json.dumps({"prompt": "question " * 20, "completion": "answers " * 27 + "end."})
    path.write_text(f"{row}\n" * 2000)
    return path
