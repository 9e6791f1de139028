"""Our operators against mergekit's on real models, and mergekit's own methods through the plug-in."""

from __future__ import annotations

import warnings

import pytest
import torch

from harness.api import MergeKit, Parameter
from harness.merge.mergekit import merge_by_mergekit
from harness.merge.stream import Member, Merging

pytest.importorskip("mergekit", reason="mergekit is not installed: pip install 'instruct-harness[merge]'")
from mergekit.merge_methods.base import TensorGroup
from mergekit.merge_methods.registry import get

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def llamas(tmp_path_factory):
    """A base and three models near it, as folders: float32, of two layers, with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    base = LlamaForCausalLM(config)
    place = tmp_path_factory.mktemp("llamas")
    base.save_pretrained(place / "base")
    for name in "abc":
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for ours, theirs in zip(model.parameters(), base.parameters(), strict=True):
                ours.copy_(theirs + 0.1 * torch.randn_like(ours))
        model.save_pretrained(place / name)
    return place


@pytest.fixture
def by_mergekit(llamas, tmp_path, read_model):
    def merge(method, names="abc", weights=(), **parameters):
        target = tmp_path / f"mergekit-{method}"
        target.mkdir()
        models = {name: llamas / name for name in names}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mergekit's own
            merger = MergeKit(tuple(names), tuple(weights), method, parameters)
            numbers = merge_by_mergekit(merger, models, llamas / "base", target, seed=0)
        found = read_model(target)
        assert numbers == sum(tensor.numel() for tensor in found.values())
        return found

    return merge


@pytest.fixture
def by_us(llamas, tmp_path, read_model, combination):
    def merge(method, names="abc", **options):
        made = combination(method, names, **options)
        target = tmp_path / f"ours-{method}"
        target.mkdir()
        Merging(made, tuple(Member(name, llamas / name) for name in names), llamas / "base").write(target)
        return read_model(target)

    return merge


def assert_equal(ours, theirs, atol):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=atol, rtol=0)


def test_average(by_us, by_mergekit):
    assert_equal(by_us("average", weights=[1, 2, 3]), by_mergekit("linear", weights=[1, 2, 3]), 2e-7)


def test_task_arithmetic(by_us, by_mergekit):
    theirs = by_mergekit("task_arithmetic", weights=[1, 1, 1], **{"lambda": 0.4})
    assert_equal(by_us("task_arithmetic", scale="2/5"), theirs, 2e-7)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 2)])
def test_ties(by_us, by_mergekit, density, weights):
    theirs = by_mergekit("ties", weights=weights, density=density)
    assert_equal(by_us("ties", trim="parameter", density=density, weights=weights), theirs, 1e-6)


@pytest.mark.parametrize(("consensus", "method"), [("linear", "dare_linear"), ("ties", "dare_ties")])
def test_dare(llamas, combination, read_model, consensus, method):
    """mergekit draws from torch's own generator; given numbers of the same seed, ours drops the same entries.

    mergekit rescales to the norm from before, the paper by the density: compared before either.
    """
    base, *models = (read_model(llamas / name) for name in ("base", "a", "b", "c"))
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight"):
        dare = combination("dare", "abc", density="1/5", scale="1/5", consensus=consensus, weights=[1, 1, 2])
        generator = torch.Generator().manual_seed(7)
        tensors = tuple(model[name].clone() for model in models)
        ours = dare.combine(Parameter(name, tensors, (0.25, 0.25, 0.5), base[name].clone(), generator=generator), None)
        torch.manual_seed(7)
        group = TensorGroup.from_tensors([base[name], *(model[name] for model in models)], base_index=0)
        theirs = get(method).merge_group(
            group,
            **{"weight": {1: 0.25, 2: 0.25, 3: 0.5}, "density": dict.fromkeys((1, 2, 3), 0.2), "lambda": 1.0},
            rescale=False,
            normalize=consensus == "ties",
            int8_mask=False,
        )
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        assert not torch.equal(ours, base[name])


def test_slerp(by_us, llamas, tmp_path, read_model):
    """mergekit's base is the first of its two models."""
    (tmp_path / "theirs").mkdir()
    merger = MergeKit(("a", "b"), (), "slerp", {"t": 0.3})
    merge_by_mergekit(merger, {"a": llamas / "a", "b": llamas / "b"}, llamas / "a", tmp_path / "theirs", seed=0)
    assert_equal(by_us("slerp", "ab", t="3/10"), read_model(tmp_path / "theirs"), 1e-6)


@pytest.mark.parametrize("method", ["della", "breadcrumbs", "model_stock", "karcher", "sce"])
def test_its_other_methods_move_the_base(by_mergekit, llamas, read_model, method):
    found, base = by_mergekit(method), read_model(llamas / "base")
    assert found.keys() == base.keys()
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    assert not torch.equal(found["model.embed_tokens.weight"], base["model.embed_tokens.weight"])


def test_a_seed_decides_what_is_drawn(by_mergekit, tmp_path):
    one = by_mergekit("della", density=0.5)
    (tmp_path / "mergekit-della").rename(tmp_path / "before")
    again = by_mergekit("della", density=0.5)
    assert all(torch.equal(one[name], again[name]) for name in one)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("dela", (), {}), "mergekit has no method 'dela' (it has arcee_fusion, breadcrumbs"),
        (("model_stock", (1, 1, 1), {}), "mergekit's model_stock has no weights (leave mergekit.weights away)"),
        (("karcher", (), {"densty": 1}), "mergekit's karcher has no parameter 'densty' (it has max_iter, tol)"),
        (("ties", (), {"density": "much"}), "mergekit refuses ties: "),
        (("slerp", (), {"t": 0.5}), "mergekit refuses slerp: "),
    ],
)
def test_what_mergekit_does_not_do(by_mergekit, refused, asked, said):
    method, weights, parameters = asked
    assert refused(by_mergekit, method, "abc", weights, **parameters).startswith(said)


def test_a_method_that_needs_the_base_says_so(llamas, tmp_path, refused):
    merger = MergeKit(("a", "b"), (), "ties", {})
    models = {name: llamas / name for name in "ab"}
    assert refused(merge_by_mergekit, merger, models, None, tmp_path, 0) == (
        "mergekit's ties needs the base (give it: --base MODEL; in a run, mergekit.base=true)"
    )
