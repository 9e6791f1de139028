"""Curated data in whole runs: planned, done by the right worker, trained on, and never done twice."""

import json

import pytest

from harness.store import Store
from harness.testing import run_tiny

HALVES = '''
"""Train on the better half of each skill."""
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from harness.api import Arm, Curated, Curation, DataInfo, Plugin, Stage, hookimpl

PLUGIN = Plugin(name="halves", version="VERSION", summary="The better half.")


@dataclass(frozen=True)
class Half(Curation):
    """The half with the longer answers, or which the model finds likelier."""

    likely: bool = False

    def curate(self, examples, tools):
        tools.tell("torch", "torch" in sys.modules)
        order = sorted(examples, key=lambda example: (-len(example.messages[-1].content), example.id))
        return {"all": order[: len(order) // 2]}


@dataclass(frozen=True)
class Likely(Curation):
    needs: ClassVar = frozenset({"model"})

    def curate(self, examples, tools):
        means = {e.id: nll / n for e, (nll, n) in zip(examples, tools.likelihood(examples))}
        return {"all": sorted(examples, key=lambda example: means[example.id])[: len(examples) // 2]}


@hookimpl(wrapper=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]):
    """Whatever the strategy, with halves of halves."""
    stages = yield
    half = lambda name: Curated(Curated(name, Half()), Likely(), model="base")
    return [replace(stage, mixture=stage.mixture.on_each(half)) for stage in stages]
'''


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A run of DMT on halves of halves."""
    folder = tmp_path_factory.mktemp("halved")
    plugin = folder / "halves.py"
    plugin.write_text(HALVES.replace("VERSION", "1.0"))
    run_tiny([f"{plugin},dmt"], folder)
    return folder


def manifests(folder, kind):
    return [entry.manifest for entry in Store(folder / "store").entries() if entry.manifest["kind"] == kind]


def test_stages_train_on_what_was_curated(halved):
    trained = {
        manifest["label"]: {name: of["examples"] for name, of in manifest["result"]["datasets"].items()}
        for manifest in manifests(halved, "train")
    }
    arithmetic, code, chat = (f"playground_{skill} Half Likely" for skill in ("arithmetic", "code", "chat"))
    assert trained["dmt+halves: train specialist (seed 0)"] == {arithmetic: 10, code: 10}
    assert trained["dmt+halves: train general (seed 0)"] == {arithmetic: 2, code: 2, chat: 10}


def test_each_curation_is_one_job(halved):
    curated = [manifest for manifest in manifests(halved, "prepare") if "curation" in manifest["declared"]]
    assert [manifest["declared"]["curation"]["class"] for manifest in curated].count("Half") == 3
    assert [manifest["declared"]["curation"]["class"] for manifest in curated].count("Likely") == 3
    assert all("halves" in [plugin["name"] for plugin in manifest["plugins"]] for manifest in curated)


def test_curating_rows_needs_no_torch(halved):
    told = [manifest["result"]["told"] for manifest in manifests(halved, "prepare") if "told" in manifest["result"]]
    assert [of["torch"] for of in told if of] == [False, False, False]


def test_a_second_run_starts_nothing(halved):
    before = {entry.key for entry in Store(halved / "store").entries()}
    logs = sorted((halved / "run" / "logs").glob("*"))
    run_tiny([f"{halved / 'halves.py'},dmt"], halved)
    assert {entry.key for entry in Store(halved / "store").entries()} == before
    assert sorted((halved / "run" / "logs").glob("*")) == logs


def test_a_row_tells_what_was_curated_and_what_it_was_made_of(halved):
    rows = [json.loads(path.read_text())["result"] for path in (halved / "run" / "rows").iterdir()]
    (row,) = [row for row in rows if row["arm"] == "dmt+halves"]
    found = {data["name"]: (data["role"], data["n"]) for data in row["data"]}
    for skill, role in (("arithmetic", "specialist"), ("code", "specialist"), ("chat", "general")):
        name = f"playground_{skill}"
        assert found[name] == (role, 40)
        assert found[f"{name} Half"] == ("curated", 20)
        assert found[f"{name} Half Likely"] == ("curated", 10)
    assert all(data["content"] for data in row["data"] if data["role"] == "curated")
