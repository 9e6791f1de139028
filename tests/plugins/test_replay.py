"""Replay in whole runs: texts without a template train beside conversations, as many as there are of these."""

import json

from harness.store import Store
from harness.testing import run_tiny
from harness.testing.tiny import TINY_RECIPE

BETTER = '''
"""Trains on the longer half, whose size nobody knows before."""
from dataclasses import dataclass
from harness.api import Curated, Curation, Mixture, Plugin, Stage, hookimpl

PLUGIN = Plugin(name="better", version="1.0", summary="The longer half.")


@dataclass(frozen=True)
class Longer(Curation):
    def curate(self, examples, tools):
        return {"all": sorted(examples, key=lambda example: len(example.messages[-1].content))[len(examples) // 2 :]}


@hookimpl
def strategy(arm, data):
    return [Stage("all", Mixture.of(Curated("playground_chat", Longer())))]
'''


def trained(folder):
    """Examples of each dataset, by arm and stage."""
    manifests = [entry.manifest for entry in Store(folder / "store").entries() if entry.manifest["kind"] == "train"]
    return {
        of["label"].removesuffix(" (seed 0)"): {name: n["examples"] for name, n in of["result"]["datasets"].items()}
        for of in manifests
    }


def settings(folder):
    """The tiny recipe with 200 texts as pretraining data."""
    texts = folder / "web.jsonl"
    texts.write_text("".join(json.dumps({"text": f"Page {i} tells of {i} boats."}) + "\n" for i in range(200)))
    data = {**TINY_RECIPE["data"], "pretraining": {"source": str(texts), "columns": {"kind": "text"}}}
    return [f"data={json.dumps(data)}"]


def test_texts_train_beside_every_stage_and_only_where_they_are_asked_for(tmp_path):
    run_tiny(["replay:ratio=1/2,dmt"], tmp_path, settings=settings(tmp_path))
    arithmetic, code, chat = (f"playground_{skill}" for skill in ("arithmetic", "code", "chat"))
    assert trained(tmp_path) == {
        "dmt+replay@replay.ratio=1/2: train specialist": {arithmetic: 40, code: 40, "web": 40},
        "dmt+replay@replay.ratio=1/2: train general": {chat: 40, arithmetic: 10, code: 10, "web": 30},
        "sft: train all": {arithmetic: 40, code: 40, chat: 40},
    }


def test_texts_are_measured_by_data_that_another_job_has_yet_to_make(tmp_path):
    (tmp_path / "better.py").write_text(BETTER)
    run_tiny([f"replay,{tmp_path / 'better.py'}"], tmp_path, settings=settings(tmp_path))
    assert trained(tmp_path)["better+replay: train all"] == {"playground_chat Longer": 20, "web": 20}
