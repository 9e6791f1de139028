"""Models of a few tensors, and ways to merge them."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.api import Arm, Mixture, Stage
from harness.discovery import load_plugin
from harness.merge.stream import Member, Merging

SHAPES = {f"layers.{i}.weight": (4, 3) for i in range(4)} | {"bias": (5,), "scalar": ()}


def _tensors_of(seed, dtype=torch.float32, **extra):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}
    return drawn | {"steps": torch.tensor([7])} | extra


def _write_model(folder, tensors, shards=1):
    folder.mkdir(parents=True)
    held = [dict(list(tensors.items())[shard::shards]) for shard in range(shards)]
    names = [f"model-{shard + 1:05d}-of-{shards:05d}.safetensors" for shard in range(shards)]
    for name, part in zip(names, held, strict=True):
        save_file(part, folder / name)
    placed = {tensor: name for name, part in zip(names, held, strict=True) for tensor in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    (folder / "config.json").write_text(json.dumps({"folder": folder.name}))
    tokenizer = {"model": {"vocab": {"a": 0, "b": 1}}, "folder": folder.name}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def _read_model(folder):
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def _combination(method, stages, **options):
    plugin = load_plugin(method)
    kind = plugin.plugin.options
    arm = Arm(method, (method,), {kind: kind.model_validate(options)})
    return plugin.module.merger(arm, [Stage(name, Mixture.of(), start="base") for name in stages])


@pytest.fixture(scope="session")
def tensors_of():
    """`tensors_of(seed, dtype, **extra)`: a model's random tensors, one of them of whole numbers."""
    return _tensors_of


@pytest.fixture(scope="session")
def write_model():
    """`write_model(folder, tensors, shards)`: a folder as `save_pretrained` leaves it."""
    return _write_model


@pytest.fixture(scope="session")
def read_model():
    """`read_model(folder)`: all tensors."""
    return _read_model


@pytest.fixture(scope="session")
def combination():
    """`combination("ties", stages, **options)`: what the plug-in makes of stages that start from the base."""
    return _combination


@pytest.fixture(scope="session")
def merged(tmp_path_factory):
    """`merged("ties", [tensors, ...], base, seed=0, density="1/5")`: the merged model's tensors."""
    numbers = itertools.count()

    def merge(method, models, base=None, *, seed=0, **options):
        place = tmp_path_factory.mktemp(f"merge-{next(numbers)}")
        folders = {f"m{i}": _write_model(place / f"m{i}", held, i % 2 + 1) for i, held in enumerate(models)}
        below = None if base is None else _write_model(place / "base", base, 3)
        made = _combination(method, folders, **options)
        folders["base"] = below
        (place / "out").mkdir()
        members = tuple(Member(name, folders[name]) for name in made.stages)
        Merging(made, members, below, seed).write(place / "out")
        return _read_model(place / "out")

    return merge
