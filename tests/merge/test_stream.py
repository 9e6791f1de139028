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


@pytest.mark.parametrize(("dtype", "weights"), [(torch.float32, (2, 3, 6)), (torch.bfloat16, (2, 4, 4))])
def test_the_mean_equals_torch_arithmetic(write, average, dtype, weights):
    models = [write(name, seed, dtype, shards=seed + 1) for seed, name in enumerate("abc")]
    found, parameters, _ = average(**{name: f"1/{weight}" for name, weight in zip("abc", weights, strict=True)})
    assert found.keys() == models[0].keys()
    for name in models[0].keys() - {"steps"}:
        exact = sum(model[name].double() / weight for model, weight in zip(models, weights, strict=True))
        assert found[name].dtype == dtype
        if dtype == torch.float32:
            torch.testing.assert_close(found[name], exact.float(), atol=1e-6, rtol=0)
        else:  # computed in float32 and rounded once
            assert torch.equal(found[name], exact.to(dtype))
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


HUB = {"lm_head.weight": torch.ones(4, 3), "rotary_emb.inv_freq": torch.ones(2)}


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare", "pointwise"])
def test_a_base_may_hold_more_than_its_experts(merged, tensors_of, method):
    models, base = [tensors_of(1), tensors_of(2)], tensors_of(0)
    found, plain = merged(method, models, base | HUB), merged(method, models, base)
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_a_base_that_lacks_a_tensor_is_named(merged, tensors_of, refused):
    base = {name: tensor for name, tensor in tensors_of(0).items() if name != "bias"}
    said = refused(merged, "ties", [tensors_of(1)], base)
    assert said.startswith("m0 and the base cannot be merged: the base lacks bias ")


def test_on_the_way_from_the_base_the_expert_says_what_a_model_is(tmp_path, write_model, read_model, combination,
                                                                  tensors_of):  # fmt: skip
    expert, base = tensors_of(1), tensors_of(0, torch.bfloat16)
    write_model(tmp_path / "m", expert)
    write_model(tmp_path / "below", base | HUB, 3)
    (tmp_path / "out").mkdir()
    slerp = combination("slerp", ["m"], t="1/4")
    members = (Member("base", tmp_path / "below"), Member("m", tmp_path / "m"))
    Merging(slerp, members, tmp_path / "below").write(tmp_path / "out")
    found = read_model(tmp_path / "out")
    assert {name: tensor.dtype for name, tensor in found.items()} == {n: t.dtype for n, t in expert.items()}
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"folder": "m"}
    one, two = base["bias"].double(), expert["bias"].double()
    angle = (one @ two / one.norm() / two.norm()).acos()
    exact = ((0.75 * angle).sin() * one + (0.25 * angle).sin() * two) / angle.sin()
    torch.testing.assert_close(found["bias"].double(), exact, atol=1e-6, rtol=0)


@pytest.fixture
def fisher_mean(tmp_path, write_model, read_model, combination):
    """Merges two models by their Fisher information, all given as tensors."""

    def merge(models, information):
        names = [f"m{i}" for i in range(len(models))]
        for name, tensors, weights in zip(names, models, information, strict=True):
            write_model(tmp_path / name, tensors)
            write_model(tmp_path / f"{name}-fisher", weights)
        (tmp_path / "out").mkdir()
        fisher = {name: tmp_path / f"{name}-fisher" for name in names}
        members = tuple(Member(name, tmp_path / name) for name in names)
        Merging(combination("fisher", names), members, fisher=fisher).write(tmp_path / "out")
        return read_model(tmp_path / "out")

    return merge


def test_weights_that_are_tied_and_stored_twice_stay_tied(fisher_mean, tensors_of):
    """The network that the Fisher information is of has them once; so do its norm and its mean."""
    models = [tensors_of(1), tensors_of(2)]
    information = [{name: tensor.float().square() for name, tensor in tensors_of(s).items()} for s in (3, 4)]
    information = [{**one, "steps": torch.tensor([7])} for one in information]
    twice = [{**model, "lm_head.weight": model["layers.1.weight"].clone()} for model in models]
    found = fisher_mean(twice, information)
    assert torch.equal(found.pop("lm_head.weight"), found["layers.1.weight"])
    squares = [sum(t.double().square().sum() for n, t in one.items() if n != "steps") for one in information]
    name = "layers.1.weight"
    shares = [one[name].double() / square.sqrt() for one, square in zip(information, squares, strict=True)]
    exact = sum(f * m[name] for f, m in zip(shares, models, strict=True)) / sum(shares)
    torch.testing.assert_close(found[name].double(), exact, atol=1e-4, rtol=0)


def test_what_is_neither_tied_nor_known_has_no_fisher_information(fisher_mean, tensors_of, refused):
    information = {name: tensor.abs() for name, tensor in tensors_of(3).items()}
    more = [tensors_of(s, head=torch.full((4, 3), float(s))) for s in (1, 2)]
    assert refused(fisher_mean, more, [information] * 2).startswith(
        "m0 and the Fisher information of m0 cannot be merged: the Fisher information of m0 lacks head "
    )


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
stages = ["m0"] if method == "slerp" else ["m0", "m1", "m2"]
plugin = load_plugin(method)
merger = plugin.module.merger(Arm(method, (method,), {}), [Stage(s, Mixture.of(), start="base") for s in stages])


def write(folder, shards):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for shard in range(shards):
        tensors = {f"{shard}.{i}": torch.randn(rows, 1024) for i in range(6)}
        save_file(tensors, folder / f"{shard:05d}.safetensors")


def merge(folder, shards):
    fisher = {stage: folder / f"{stage}-fisher" for stage in stages if merger.fisher is not None}
    for name in [*stages, *(path.name for path in fisher.values()), "base"]:
        write(folder / name, shards)
    (folder / "out").mkdir()
    members = tuple(Member(stage, folder / stage) for stage in merger.stages)
    Path("/proc/self/clear_refs").write_text("5")  # begins the highest mark anew
    before = memory("VmRSS")
    Merging(merger, members, folder / "base", fisher=fisher).write(folder / "out")
    return {"grown": memory("VmHWM") - before, "models": len(members) + len(fisher) + ("base" in merger.needs)}


def memory(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))


merge(place / "warm-up", 1)  # loads the code that is only read where it is needed
print(json.dumps({**merge(place / "model", 6), "tensor": rows * 1024 * 4}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the highest mark of memory is read from /proc")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("method", ["average", "ties", "dare", "pointwise", "slerp", "fisher"])
def test_memory_is_bounded_by_two_shards_and_a_tensor_of_each_model(tmp_path, method):
    """Three experts, and what the method needs besides (of slerp one and the base), each of 6 shards with 24 MiB."""
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
    assert measured["models"] == {"average": 3, "slerp": 2, "fisher": 6}.get(method, 4)
    assert measured["grown"] <= (2 * 6 + measured["models"]) * measured["tensor"]
