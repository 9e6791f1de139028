from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.context import Context
from harness.errors import UserError
from harness.jobs import Merge
from harness.merge.average import merge


def model(folder, seed, dtype=torch.float32, shards=1, **extra):
    """A model's folder with random weights; returns them."""
    torch.manual_seed(seed)
    tensors = {f"layer.{i}": torch.randn(4, 3).to(dtype) for i in range(4)} | {"steps": torch.tensor([7]), **extra}
    (folder / "model").mkdir(parents=True)
    for shard in range(shards):
        held = {name: tensor for i, (name, tensor) in enumerate(tensors.items()) if i % shards == shard}
        save_file(held, folder / "model" / f"model-{shard + 1:05d}.safetensors")
    (folder / "model" / "config.json").write_text(json.dumps({"seed": seed}))
    (folder / "model" / "tokenizer.json").write_text(f"tokenizer {seed}")
    return tensors


def average(tmp_path, weights):
    folder = tmp_path / "merged"
    folder.mkdir()
    parents = {stage: tmp_path / stage for stage, _ in weights}
    outcome = merge(Merge(weights=weights), Context(folder, parents, {}, lambda _: None))
    found = {}
    for path in sorted((folder / "model").glob("*.safetensors")):
        found |= load_file(path)
    return outcome, found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_equals_torch_arithmetic(tmp_path, dtype):
    one, two, three = (model(tmp_path / name, i, dtype, shards=i + 1) for i, name in enumerate(["a", "b", "c"]))
    outcome, found = average(tmp_path, (("a", "1/2"), ("b", "1/3"), ("c", "1/6")))
    assert found.keys() == one.keys()
    for name in ("layer.0", "layer.3"):
        expected = (one[name].double() / 2 + two[name].double() / 3 + three[name].double() / 6).to(dtype)
        assert found[name].dtype == dtype
        torch.testing.assert_close(found[name], expected, atol=1e-6 if dtype == torch.float32 else 1e-2, rtol=0)
    assert found["steps"].tolist() == [7]
    assert outcome["result"] == {"models": 3, "parameters": 49}


def test_the_first_parent_gives_config_tokenizer_and_shards(tmp_path):
    model(tmp_path / "a", 1, shards=2)
    model(tmp_path / "b", 2)
    average(tmp_path, (("a", "1/2"), ("b", "1/2")))
    merged = tmp_path / "merged" / "model"
    assert (merged / "tokenizer.json").read_text() == "tokenizer 1"
    assert json.loads((merged / "config.json").read_text()) == {"seed": 1}
    assert len(list(merged.glob("*.safetensors"))) == 2


def test_a_model_averaged_with_itself_is_itself(tmp_path):
    one = model(tmp_path / "a", 1)
    model(tmp_path / "b", 1)
    _, found = average(tmp_path, (("a", "1/4"), ("b", "3/4")))
    for name, tensor in one.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"other": torch.zeros(1)}, "only one of them has other"),
        ({"layer.1": torch.zeros(5)}, "layer.1 differs"),
        ({"layer.1": torch.zeros(4, 3, dtype=torch.int64)}, "layer.1 differs"),
        ({"steps": torch.tensor([8])}, "steps differs"),
    ],
)
def test_models_that_differ_in_more_than_numbers_are_refused(tmp_path, extra, said):
    model(tmp_path / "a", 1)
    model(tmp_path / "b", 2, **extra)
    with pytest.raises(UserError, match=f"a and b cannot be averaged: {said}"):
        average(tmp_path, (("a", "1/2"), ("b", "1/2")))
