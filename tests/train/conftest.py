from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness.api import DataSource, Example, Generated, Message, Part, dpo, token_loss
from harness.context import Context
from harness.execution import Execution, Layout
from harness.jobs import DataDeclaration, InitModel, MixtureItem, ModelSettings, PrepareModel, Train, TrainSettings

WORDS = ["red", "green", "blue", "seven", "eight", "nine", "apple", "pear", "plum", "north", "south", "east", "west"]
TINY = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
}
RESPONSE = token_loss(lambda batch: batch.is_part(Part.RESPONSE))
NOISY = replace(RESPONSE, embed=lambda embeddings, _batch: embeddings + 0.01 * torch.randn_like(embeddings))
"""Draws random numbers at every step, so that a resumed run must restore their state."""
LONG = {"mixture": ("first", "second"), "epochs": 6.5, "keep": (0.2, 1.0)}
PAIRED = {"mixture": ("pairs",), "objective": "dpo", "lr": 3e-3, "epochs": 8.5, "keep": (0.2, 1.0)}
KILLED = {"noisy": (LONG, NOISY), "pairs": (PAIRED, dpo())}
"""Stages that are killed: what they declare, and their loss."""


def conversations(seed: int, n: int):
    """Examples of different lengths, equal for equal seeds."""
    draw = np.random.Generator(np.random.PCG64(seed))
    for i in range(n):
        words = [WORDS[k] for k in draw.integers(len(WORDS), size=int(draw.integers(2, 9)))]
        question, answer = " ".join(words), " ".join(reversed(words))
        yield Example(f"{seed}-{i}", (Message("user", question), Message("assistant", answer)))


def source(seed: int, n: int) -> DataSource:
    return DataSource(Generated(make=lambda: conversations(seed, n), n=n, recipe={"seed": seed, "n": n}))


def preferences(seed: int, n: int):
    """Conversations whose answer was preferred to another, mostly shorter one."""
    for i, example in enumerate(conversations(seed, n)):
        words = example.messages[-1].content.split()
        yield replace(example, rejected=" ".join(words[i % 2 : 1 + i % 5]) or "none")


PAIRS = DataSource(Generated(make=lambda: preferences(3, 40), n=40, recipe={"pairs": 40}))
SOURCES = {"first": source(1, 40), "second": source(2, 24), "pairs": PAIRS}


def item(name: str) -> MixtureItem:
    return MixtureItem(data=DataDeclaration(name=name, source={"name": name}))


def declare(*, mixture: tuple[str, ...] = ("first",), budget: Any = None, seed: int = 0, **settings: Any) -> Train:
    chosen = {"lr": 1e-2, "epochs": 2, "batch_size": 8, "max_length": 64, **settings}
    keep, objective = chosen.pop("keep", (1.0,)), chosen.pop("objective", "sft")
    return Train(
        mixture=tuple(item(name) for name in mixture),
        settings=TrainSettings(**chosen),
        loss={},
        objective=objective,
        seed=seed,
        keep=keep,
        budget=budget,
    )


def context(
    folder: Path,
    *,
    parents: dict[str, Path] | None = None,
    progress: Any = None,
    execution: dict[str, Any] | None = None,
    **runtime: Any,
) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    told = progress or (lambda _: None)
    how = Execution(**(execution or {}))
    return Context(folder, parents or {}, {"threads": 1, "micro_tokens": 128, **runtime}, told, how)


def prepare(folder: Path, *, seed: int = 0, architecture: str = "llama", **config: Any) -> dict[str, Any]:
    from harness.train.init import prepare_model

    init = InitModel(architecture=architecture, config={**TINY, **config}, vocab_size=300)
    declared = PrepareModel(model=ModelSettings(init=init), data=(item("first"), item("second")), seed=seed)
    return prepare_model(declared, SOURCES, context(folder))


# --- stages with processes of their own ------------------------------------------------------------------------------

PARTS = {"arithmetic": 60, "code": 50, "chat": 50}
"""Conversations of the playground, of 20 to 90 tokens."""


class LaunchedStage:
    """A `train` job of a plan, trained as a worker does it: through its launcher, or in this process."""

    def __init__(self, root: Path, *settings: str, arm: str = "im") -> None:
        from harness.data.resolve import Places
        from harness.planner import build, choose_arms
        from harness.recipe import load
        from harness.settings import Setting
        from harness.testing.tiny import TINY_RECIPE

        raw = {**TINY_RECIPE, "options": {"playground": PARTS}}
        root.mkdir(parents=True, exist_ok=True)
        (root / "recipe.yaml").write_text(yaml.safe_dump(raw))
        recipe = load(str(root / "recipe.yaml"), [Setting.parse(text) for text in settings], [arm])
        self.places, self.execution = Places(None, root / "cache"), recipe.train.execution()
        arms = choose_arms(recipe, [arm], [], baseline=False, factorial=False)
        jobs = {job.kind: job for job in build(recipe, arms, self.places).jobs.values()}
        self.prepared, self.job = jobs["prepare"], jobs["train"]
        self.base = root / f"base-{self.prepared.key[:8]}"

    def train(self, folder: Path, **runtime: Any) -> dict[str, Any]:
        from harness.launch.supervisor import launch

        if self.execution.launcher == "none":
            return self.train_here(folder, **runtime)
        return dict(launch(self.job, self.places, self._context(folder, runtime)))

    def train_here(self, folder: Path, **runtime: Any) -> dict[str, Any]:
        from harness.scene import Scene
        from harness.train.job import train

        scene, given = Scene(self.job, self.places), self._context(folder, runtime)
        return train(Train.model_validate(self.job.declared), scene.sources, scene.loss(), given)

    def _context(self, folder: Path, runtime: Any) -> Context:
        from harness.scene import Scene
        from harness.train.init import prepare_model

        if not self.base.exists():
            sources = Scene(self.prepared, self.places).sources
            prepare_model(PrepareModel.model_validate(self.prepared.declared), sources, context(self.base))
        parents = {"start": self.base, "base": self.base}
        return replace(context(folder, parents=parents, **{"micro_tokens": 256, **runtime}), execution=self.execution)


RANKS_2 = ("train.launcher=torchrun", "train.processes=2")


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """How the tests of this folder make what they need."""
    return SimpleNamespace(
        conftest=__file__,
        context=context,
        declare=declare,
        killed=KILLED,
        item=item,
        long=LONG,
        launched=LaunchedStage,
        loss=RESPONSE,
        noisy=NOISY,
        prepare=prepare,
        ranks_2=RANKS_2,
        sources=SOURCES,
        weights=weights,
    )


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared job's folder: a Llama of a few thousand parameters."""
    folder = tmp_path_factory.mktemp("base")
    prepare(folder)
    return folder


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """What a launcher tells the only process that it starts; its process group ends with the test."""
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    told["OMP_NUM_THREADS"] = "1"  # accelerate warns where it is left open
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    yield ("train.launcher=torchrun",)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def stage(base: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Trains a stage from `base`: the outcome and the job's folder."""
    from harness.train.job import train

    def run(
        name: str = "stage",
        *,
        loss: Any = RESPONSE,
        start: Path = base,
        runtime: Any = None,
        execution: Any = None,
        progress: Any = None,
        layout: Layout = "packed",
        sources: Any = SOURCES,
        **declared: Any,
    ):
        folder, parents = tmp_path / name, {"start": start, "base": base}
        how = {"layout": layout, **(execution or {})}
        given = context(folder, parents=parents, progress=progress, execution=how, **(runtime or {}))
        return train(declare(**declared), sources, loss, given), folder

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")
