"""What jobs ask SLURM for."""

import pytest

from harness.allocation import Slurm
from harness.recipe import load
from harness.settings import Setting


def test_jobs_of_one_kind_ask_for_something_else():
    slurm = Slurm.model_validate(
        {"partition": "gpu", "gpus": 8, "extra": {"constraint": "a100"}, "evaluate": {"gpus": 1, "hours": 0.5}}
    )
    train, evaluate = slurm.of("train"), slurm.of("evaluate")
    assert (train.partition, train.gpus, train.hours) == ("gpu", 8, 4.0)
    assert (evaluate.partition, evaluate.gpus, evaluate.hours) == ("gpu", 1, 0.5)
    assert evaluate.extra == {"constraint": "a100"}


@pytest.mark.parametrize("kind", ["prepare", "merge"])
def test_jobs_that_need_no_gpu_ask_for_none(kind):
    assert Slurm(gpus=8).of(kind).gpus is None
    assert Slurm.model_validate({"gpus": 8, kind: {"gpus": 1}}).of(kind).gpus == 1


def test_the_cluster_enters_no_key():
    plain, other = (load("playground", [Setting.parse(text)] if text else []) for text in ("", "slurm.partition=gpu"))
    assert plain.result_settings() == other.result_settings()
    assert "slurm" not in plain.result_settings()
