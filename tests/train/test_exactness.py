"""Twenty steps give the same losses and weights however many processes train, and whatever they shard or lay out."""

from __future__ import annotations

import json

import pytest
import torch

from harness.errors import UserError
from harness.train import network

EXACT = 1e-5
"""Largest difference of any loss and any weight, float32."""


NEAR_BASE = """
from harness.api import Loss, Part, Plugin, hookimpl

PLUGIN = Plugin(name="near_base", version="1.0", summary="Stays near the base, in what it says and in its norms.")

def near(model, batch, references):
    return model.token_nll(batch) + 0.5 * (model.token_nll(batch) - references["base"].token_nll(batch)).abs()

def shrink(network, references):
    return 0.01 * sum(p.square().sum() for name, p in network.named_parameters() if "norm" in name)

@hookimpl
def loss_fn(arm):
    scored = lambda batch: batch.is_part(Part.RESPONSE)
    return Loss(weights=scored, per_token=near, PENALTY references=("base",))
"""


@pytest.fixture(scope="session")
def near_base(tmp_path_factory):
    """Files of a method that compares with the base, with and without a penalty on weights."""
    folder = tmp_path_factory.mktemp("methods")
    for name, penalty in (("penalised", "penalty=shrink,"), ("compared", "")):
        (folder / f"{name}.py").write_text(NEAR_BASE.replace("PENALTY", penalty))
    return folder


LIKES = """
from harness.api import DataSource, Example, Generated, Message, Mixture, Plugin, Stage, dpo, hookimpl

PLUGIN = Plugin(name="likes", version="1.0", summary="Prefers the smaller of two numbers.")

def pairs():
    for i in range(160):
        turns = (Message("user", f"{i} or {7 * i}?"), Message("assistant", "so " * (i % 5) + str(i)))
        yield Example(str(i), turns, rejected="so " * (i % 3) + str(7 * i))

@hookimpl
def data_source(arm):
    return {"likes": DataSource(Generated(pairs, n=160, recipe={"n": 160}))}

@hookimpl
def strategy(arm, data):
    return [Stage("liking", Mixture.of("likes"), objective="dpo", loss=dpo(0.5), train={"lr": 1e-3})]
"""


@pytest.fixture(scope="session")
def likes(tmp_path_factory):
    """The file of a method that learns from preference pairs."""
    path = tmp_path_factory.mktemp("likes") / "likes.py"
    path.write_text(LIKES)
    return path


@pytest.fixture(scope="session")
def plain(make, tmp_path_factory):
    """Plain torch in one process, by arm and settings: the folder of the job."""
    root = tmp_path_factory.mktemp("plain")
    done = {}

    def trained(arm, *settings):
        if (arm, settings) not in done:
            done[arm, settings] = folder = root / str(len(done))
            make.launched(root, *settings, arm=arm).train(folder)
        return done[arm, settings]

    return trained


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def norms(folder):
    return [json.loads(line)["grad_norm"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def differences(make, plain, tmp_path):
    """The largest differences of losses and weights between a stage and plain torch."""

    def compare(*execution, settings=(), arm="im", **runtime):
        stage = make.launched(tmp_path, *settings, *execution, arm=arm)
        outcome, wanted = stage.train(tmp_path / "stage", **runtime), plain(arm, *settings)
        assert outcome["result"]["steps"] == 20
        assert norms(tmp_path / "stage") == pytest.approx(norms(wanted), rel=1e-4)
        ours, theirs = make.weights(tmp_path / "stage"), make.weights(wanted)
        assert ours.keys() == theirs.keys()
        steps = zip(losses(tmp_path / "stage"), losses(wanted), strict=True)
        return (
            max(abs(a - b) for a, b in steps),
            max(float((ours[name] - theirs[name]).abs().max()) for name in ours),
        )

    return compare


BY_EXAMPLE = ("train.loss_reduction=example",)


def sharded(name):
    return () if name == "none" else (f"train.deepspeed={name}",)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sharding", "how"),
    [
        ("none", {"micro_tokens": 100}),
        ("zero2", {"chunk_tokens": 16}),
        ("zero3", {"settings": BY_EXAMPLE, "micro_tokens": 600}),
    ],
)
def test_two_processes_train_as_one(make, differences, sharding, how):
    assert max(differences(*make.ranks_2, *sharded(sharding), **how)) < EXACT


@pytest.mark.parametrize("how", [{"micro_tokens": 80}, {"micro_tokens": 5000}, {"chunk_tokens": 7}])
def test_micro_batches_and_chunks_change_nothing(differences, how):
    assert max(differences(**how)) < EXACT


SHARDINGS = ("none", "zero0", "zero1", "zero2", "zero3")
LAYOUTS = {"packed": (100, None), "grouped": (300, 16), "padded": (600, None)}
"""With tokens of a micro-batch, and of a chunk of logits."""


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduction", ["token", "example"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_everything_trains_alike(differences, sharding, processes, reduction, layout):
    execution = ("train.launcher=torchrun", f"train.processes={processes}", f"train.layout={layout}")
    settings = (f"train.loss_reduction={reduction}",)
    micro_tokens, chunk_tokens = LAYOUTS[layout]
    how = {"settings": settings, "micro_tokens": micro_tokens, "chunk_tokens": chunk_tokens}
    assert max(differences(*execution, *sharded(sharding), **how)) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_offloading_trains_alike(make, differences):
    """DeepSpeed compiles its Adam for CPUs first."""
    assert max(differences(*make.ranks_2, "train.deepspeed=zero3_offload")) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("sharding", ["none", "zero2"])
def test_references_and_a_penalty_count_once_whoever_trains(make, differences, near_base, sharding):
    arm = str(near_base / "penalised.py")
    assert max(differences(*make.ranks_2, *sharded(sharding), arm=arm, micro_tokens=100)) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("sharding", ["none", "zero2", "zero3"])
def test_the_divergence_from_the_base_counts_alike_whoever_trains(make, differences, sharding):
    assert max(differences(*make.ranks_2, *sharded(sharding), arm="kl,im", chunk_tokens=16)) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_references_stay_whole_where_weights_are_sharded(make, differences, near_base):
    assert max(differences(*make.ranks_2, *sharded("zero3"), arm=str(near_base / "compared.py"))) < EXACT


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sharding", "settings"),
    [
        ("none", ()),
        *(pytest.param(name, (), marks=pytest.mark.soak) for name in ("zero0", "zero2", "zero3")),
        pytest.param("zero2", ("train.lora.rank=4",), marks=pytest.mark.soak),
    ],
)
def test_pairs_are_compared_alike_whoever_trains(make, differences, likes, sharding, settings):
    settings = (f"data={{general: [{likes}]}}", *settings)
    how = {"settings": settings, "arm": str(likes), "micro_tokens": 150}
    assert max(differences(*make.ranks_2, *sharded(sharding), **how)) < EXACT


def test_a_penalty_on_weights_in_shards_is_refused(make, near_base, one_rank, tmp_path):
    stage = make.launched(tmp_path, *one_rank, *sharded("zero3"), arm=str(near_base / "penalised.py"))
    with pytest.raises(UserError, match=r"penalty looks at weights that ZeRO-3 holds in shards .*deepspeed=zero2"):
        stage.train_here(tmp_path / "stage")


def test_parameters_that_the_loss_never_sees_are_refused_by_name(make, one_rank, tmp_path, monkeypatch):
    load = network.load

    def with_one_more(*arguments, **storage):
        found = load(*arguments, **storage)
        found.model.unused = torch.nn.Parameter(torch.zeros(3))
        return found

    monkeypatch.setattr(network, "load", with_one_more)
    with pytest.raises(UserError, match=r"parameters of LlamaForCausalLM take no part in the loss .*deepspeed=zero2"):
        make.launched(tmp_path, *one_rank).train_here(tmp_path / "stage")


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("sharding", ["none", "zero0", "zero2", "zero3"])
def test_adapters_train_alike(make, differences, sharding):
    assert max(differences(*make.ranks_2, *sharded(sharding), settings=("train.lora.rank=4", "train.lr=1e-3"))) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_bfloat16_trains_to_the_same_loss(make, plain, tmp_path, sharding):
    settings = ("train.dtype=bfloat16", "train.lr=1e-3")
    make.launched(tmp_path, *settings, *make.ranks_2, *sharded(sharding)).train(tmp_path / "stage")
    assert losses(tmp_path / "stage") == pytest.approx(losses(plain("im", *settings)), abs=0.05)
    assert {tensor.dtype for tensor in make.weights(tmp_path / "stage").values()} == {torch.bfloat16}
