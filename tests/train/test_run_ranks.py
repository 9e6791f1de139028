"""Whole runs through the command line, every stage trained by two processes under ZeRO-2."""

from __future__ import annotations

import pytest

from harness.store import Store
from harness.testing.tiny import tiny_recipe

EXACT = 1e-5

EXPERTS = """
from fractions import Fraction
from harness.api import Average, Mixture, Plugin, Stage, hookimpl

PLUGIN = Plugin(name="experts", version="1.0", summary="An expert for each dataset, averaged.")

@hookimpl
def strategy(arm, data):
    return [Stage(name, Mixture.of(name), start="base") for name in sorted(data)]

@hookimpl
def merger(arm, stages):
    return Average(tuple(stage.name for stage in stages))
"""


def trained(folder):
    """The model of every job that left one."""
    return {entry.key: folder / "store" / "jobs" / entry.key for entry in Store(folder / "store").entries()}


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_stages_and_mergers_give_the_models_of_one_process(make, command, tmp_path):
    (tmp_path / "experts.py").write_text(EXPERTS)

    def run(name, *settings):
        folder = tmp_path / name
        arms = ("--plugins", "im,dmt", "--plugins", tmp_path / "experts.py", "--no-baseline")
        places = ("--store", folder / "store", "--out", folder / "run")
        more = [part for text in settings for part in ("--set", text)]
        process = command("run", tiny_recipe(folder), *arms, *places, *more, cwd=folder)
        _, errors = process.communicate(timeout=700)
        assert process.returncode == 0, errors
        return trained(folder)

    alone, together = run("alone"), run("together", *make.ranks_2, "train.deepspeed=zero2")
    assert alone.keys() == together.keys()
    models = [key for key, folder in alone.items() if (folder / "model" / "model.safetensors").exists()]
    assert len(models) == 1 + 2 + 3 + 1
    for key in models:
        ours, theirs = make.weights(together[key]), make.weights(alone[key])
        assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < EXACT
