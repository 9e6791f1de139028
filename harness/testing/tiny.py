"""The real thing, tiny: a model of a few thousand parameters, and a whole run in well under a minute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.context import Context, Progress
from harness.data.resolve import Places
from harness.jobs import InitModel, Job, MixtureItem, ModelSettings, PrepareModel
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.run import execute
from harness.runfolder import LEADERBOARD, Linked, open_run_folder, write_result
from harness.settings import Setting
from harness.store import Store

_SKILLS = {"specialist": ["arithmetic", "code"], "general": ["chat"]}

TINY_INIT = {
    "architecture": "llama",
    "vocab_size": 384,
    "config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    },
}

TINY_RECIPE = {
    "name": "tiny",
    "model": {"init": TINY_INIT, "chat_template": "plain"},
    "data": {role: [f"playground:playground_{skill}" for skill in skills] for role, skills in _SKILLS.items()},
    "train": {"lr": 1e-2, "epochs": 1, "batch_size": 8, "max_length": 128},
    "benchmarks": ["playground"],
    "limit": 8,
    "options": {"playground": {"arithmetic": 40, "code": 40, "chat": 40}, "dmt": {"k": "1/4"}},
    "runtime": {"threads": 1, "checkpoint_seconds": 0},
}
"""A recipe over the playground's skills: 40 examples of each, one epoch, eight test questions of each."""


class _Quiet:
    def started(self, job: Job, *, resumed: bool) -> None:
        pass

    def progressed(self, job: Job, progress: Progress) -> None:
        pass

    def noticed(self, job: Job, text: str) -> None:
        pass

    def finished(self, job: Job, seconds: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def tiny_recipe(folder: Path) -> Path:
    """Write the tiny recipe into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY_RECIPE, sort_keys=False), encoding="utf-8")
    return path


def run_tiny(
    plugins: Sequence[str],
    folder: Path,
    *,
    settings: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    factorial: bool = False,
) -> dict[str, Any]:
    """Compare arms, each as after `--plugins`, with the baseline, as `harness run` does; returns leaderboard.json.

    Everything is left in `folder`: the store in `store/`, the run folder in `run/`. Run it again to go on.
    """
    parsed = [Setting.parse(text) for text in settings]
    recipe = load(str(tiny_recipe(folder)), parsed, plugins)
    places, store, run = Places(None, folder / "store" / "cache"), Store(folder / "store"), folder / "run"
    arms = choose_arms(recipe, plugins, parsed, sweeps, baseline=True, factorial=factorial)
    plan = build(recipe, arms, places)
    open_run_folder(plan, store, run)
    execute(plan, store, places, Linked(_Quiet(), plan, store, run), logs=run / "logs")
    write_result(plan, store, run, command="run_tiny", accepted_source=False)
    board: dict[str, Any] = json.loads((run / LEADERBOARD).read_text(encoding="utf-8"))
    return board


def tiny_model(folder: str | Path) -> Path:
    """Make a tiny Llama with tokenizer and chat template in `folder`/model, as save_pretrained writes it; returns that.

    The tokenizer is trained on the playground's examples; the weights are random, and the same each time.
    """
    from harness.arms import bind
    from harness.armspec import ArmSpec
    from harness.data.sources import declare
    from harness.train.init import prepare_model

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    offered = bind(ArmSpec(("sft",)), ["playground"]).sources()
    sources = {name: source for name, (source, _) in offered.items()}
    items = [declare(name, source, None, data_root=None, cache=None) for name, source in sources.items()]
    declared = PrepareModel(
        model=ModelSettings(init=InitModel.model_validate(TINY_INIT), chat_template="plain"),
        data=tuple(MixtureItem(data=item) for item in items),
    )
    prepare_model(declared, sources, Context(folder, {}, {"threads": 1}, lambda _: None))
    return folder / "model"
