"""Twenty steps give the same losses and weights however many processes train, and whatever they shard or lay out."""

from __future__ import annotations

import itertools
import json

import pytest

EXACT = 1e-5
"""Largest difference of any loss and any weight, float32."""


@pytest.fixture(scope="session")
def plain(make, tmp_path_factory):
    """Plain torch in one process, by loss reduction: the folder of the job."""
    root = tmp_path_factory.mktemp("plain")
    done = {}

    def trained(reduction):
        if reduction not in done:
            done[reduction] = root / reduction
            make.launched(root, f"train.loss_reduction={reduction}").train(root / reduction)
        return done[reduction]

    return trained


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def norms(folder):
    return [json.loads(line)["grad_norm"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def differences(make, plain, tmp_path):
    """The largest differences of losses and weights between a stage and plain torch."""

    def compare(*settings, reduction="token", **runtime):
        stage = make.launched(tmp_path, f"train.loss_reduction={reduction}", *settings)
        outcome, wanted = stage.train(tmp_path / "stage", **runtime), plain(reduction)
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


def sharded(name):
    return () if name == "none" else (f"train.deepspeed={name}",)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sharding", "how"),
    [
        ("none", {"micro_tokens": 100}),
        ("zero2", {"chunk_tokens": 16}),
        ("zero3", {"reduction": "example", "micro_tokens": 600}),
    ],
)
def test_two_processes_train_as_one(make, differences, sharding, how):
    assert max(differences(*make.ranks_2, *sharded(sharding), **how)) < EXACT


@pytest.mark.parametrize("how", [{"micro_tokens": 80}, {"micro_tokens": 5000}, {"chunk_tokens": 7}])
def test_micro_batches_and_chunks_change_nothing(differences, how):
    assert max(differences(**how)) < EXACT


LAYOUTS = [("packed", 100, None), ("grouped", 300, 16), ("padded", 600, None)]
MATRIX = list(itertools.product(("none", "zero0", "zero1", "zero2", "zero3"), (1, 2), ("token", "example"), LAYOUTS))


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("sharding", "processes", "reduction", "layout"), MATRIX)
def test_everything_trains_alike(differences, sharding, processes, reduction, layout):
    launcher = ("train.launcher=torchrun", f"train.processes={processes}", f"train.layout={layout[0]}")
    how = {"micro_tokens": layout[1], "chunk_tokens": layout[2]}
    assert max(differences(*launcher, *sharded(sharding), reduction=reduction, **how)) < EXACT


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_offloading_trains_alike(make, differences):
    """DeepSpeed compiles its Adam for CPUs first."""
    assert max(differences(*make.ranks_2, "train.deepspeed=zero3_offload")) < EXACT
