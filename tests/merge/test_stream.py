from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.api import Average
from harness.errors import UserError
from harness.merge.stream import Member, Merging


@pytest.fixture
def write(tmp_path, write_model, tensors_of):
    """Writes a model of random tensors under a name; returns them."""

    def write(name, seed, dtype=torch.float32, shards=1, **extra):
        tensors = tensors_of(seed, dtype, **extra)
        write_model(tmp_path / name, tensors, shards)
        return tensors

    return write


@pytest.fixture
def average(tmp_path, read_model):
    def average(**weights):
        (tmp_path / "out").mkdir()
        combination = Average(tuple(weights), tuple(map(Fraction, weights.values())))
        merging = Merging(combination, tuple(Member(name, tmp_path / name) for name in weights))
        reports = []
        parameters = merging.write(tmp_path / "out", lambda done, total: reports.append((done, total)))
        return read_model(tmp_path / "out"), parameters, reports

    return average


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_equals_torch_arithmetic(write, average, dtype):
    one, two, three = (write(name, seed, dtype, shards=seed + 1) for seed, name in enumerate("abc"))
    found, parameters, _ = average(a="1/2", b="1/3", c="1/6")
    assert found.keys() == one.keys()
    for name in one.keys() - {"steps"}:
        exact = one[name].double() / 2 + two[name].double() / 3 + three[name].double() / 6
        assert found[name].dtype == dtype
        bound = 1e-6 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(found[name], exact.to(dtype), atol=bound, rtol=0)
    assert found["steps"].tolist() == [7]
    assert parameters == 4 * 12 + 5 + 1 + 1


def test_the_first_model_gives_config_tokenizer_and_shards(write, average, tmp_path):
    write("a", 1, shards=2)
    write("b", 2)
    _, _, reports = average(a="1/2", b="1/2")
    for name in ("config.json", "tokenizer.json"):
        assert json.loads((tmp_path / "out" / name).read_text())["folder"] == "a"
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index == json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())
    assert reports == [(done, 7) for done in range(1, 8)]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"other": torch.zeros(1)}, "a and b cannot be merged: a lacks other"),
        ({"other": torch.zeros(1), "third": torch.zeros(1)}, "a and b cannot be merged: a lacks other and 1 more"),
        ({"bias": torch.zeros(6)}, "a and b cannot be merged: bias is [5] in one and [6] in the other"),
        (
            {"bias": torch.zeros(5, dtype=torch.int64)},
            "a and b cannot be merged: bias holds whole numbers in one of them alone",
        ),
        ({"steps": torch.tensor([8])}, "a and b cannot be merged: the whole numbers of steps differ"),
    ],
)
def test_models_that_differ_in_more_than_numbers_are_refused(write, average, refused, extra, said):
    write("a", 1)
    write("b", 2, **extra)
    assert refused(average, a="1/2", b="1/2") == f"{said} (merge models that were trained from the same one)"


def test_what_compares_with_the_base_is_not_done_without(write, combination, refused, tmp_path):
    write("a", 1)
    (tmp_path / "out").mkdir()
    merging = Merging(combination("ties", "a"), (Member("a", tmp_path / "a"),))
    assert refused(merging.write, tmp_path / "out") == "Ties needs the base, and none is named (name it: --base MODEL)"


def test_a_model_that_lacks_a_tensor_is_named(write, average, refused, tmp_path):
    tensors = write("a", 1)
    write("b", 2)
    (shard,) = (tmp_path / "b").glob("*.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "bias"}, shard)
    assert refused(average, a="1/2", b="1/2").startswith("a and b cannot be merged: b lacks bias")


def test_a_file_that_is_cut_off_is_named(write, average, tmp_path):
    write("a", 1)
    write("b", 2)
    (shard,) = (tmp_path / "b").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(UserError, match=r"b/model-00001-of-00001.safetensors cannot be read"):
        average(a="1/2", b="1/2")


MEASURE = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from harness.api import Arm, Mixture, Stage
from harness.discovery import load_plugin
from harness.merge.stream import Member, Merging

place, method, rows = Path(sys.argv[1]), sys.argv[2], 1024
torch.set_num_threads(1)
stages = ["m0", "m1", "m2"]
plugin = load_plugin(method)
merger = plugin.module.merger(Arm(method, (method,), {}), [Stage(s, Mixture.of(), start="base") for s in stages])


def write(folder, shards):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for shard in range(shards):
        tensors = {f"{shard}.{i}": torch.randn(rows, 1024) for i in range(6)}
        save_file(tensors, folder / f"{shard:05d}.safetensors")


def merge(folder, shards):
    for name in [*stages, "base"]:
        write(folder / name, shards)
    (folder / "out").mkdir()
    Path("/proc/self/clear_refs").write_text("5")  # begins the highest mark anew
    before = memory("VmRSS")
    Merging(merger, tuple(Member(s, folder / s) for s in stages), folder / "base").write(folder / "out")
    return memory("VmHWM") - before


def memory(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))


merge(place / "warm-up", 1)  # loads the code that is only read where it is needed
print(json.dumps({"grown": merge(place / "model", 6), "tensor": rows * 1024 * 4}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the highest mark of memory is read from /proc")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("method", ["average", "ties"])
def test_memory_is_bounded_by_two_shards_and_a_tensor_of_each_model(tmp_path, method):
    """Three experts and a base, each of 6 shards with 24 MiB: nine times what the bound allows is read."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), method],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        # Large tensors go back to the system when they are freed; here small ones do as well.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    shard, models = 6 * measured["tensor"], 4
    assert measured["grown"] <= 2 * shard + models * measured["tensor"]
