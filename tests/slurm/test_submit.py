"""What is said before anything is submitted."""

import pytest

from harness.errors import UserError
from harness.slurm.submit import SlurmCluster, parameters
from harness.store import Store


def test_a_machine_without_slurm(monkeypatch, refused):
    monkeypatch.setenv("PATH", "/nowhere")
    assert refused(SlurmCluster) == "there is no SLURM here: sbatch is not found (run it on a cluster's login node)"


def test_submitit_is_named_where_it_is_missing(monkeypatch, tmp_path, refused):
    for name in ("sbatch", "squeue"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("harness.slurm.submit.find_spec", lambda _: None)
    assert refused(SlurmCluster) == "submitit is not installed (pip install 'instruct-harness[slurm]')"


def test_a_stage_asks_for_its_nodes_and_all_else_for_one(on_submitit):
    label, asked = "sft: train all (seed 0)", "sft: ask playground_arithmetic (seed 0)"
    plan = on_submitit.plan(
        *("train.launcher=torchrun", "train.nodes=2", "train.processes=4"),
        *("slurm.gpus=4", "slurm.cpus=16", "slurm.memory_gib=1.5", "slurm.hours=0.5", "slurm.respond.gpus=1"),
        only={label, asked},
    )
    train, evaluate = (parameters(plan, job, after=["7", "8"]) for job in plan.jobs.values())
    assert (train["nodes"], train["gpus_per_node"], evaluate["nodes"], evaluate["gpus_per_node"]) == (2, 4, 1, 1)
    assert (train["cpus_per_task"], train["mem"], train["time"]) == (16, "1536M", 30)
    assert "--cpus-per-task=16" in train["srun_args"]
    assert train["dependency"] == "afterok:7:8"
    assert train["additional_parameters"] == {"requeue": True, "kill-on-invalid-dep": "yes"}


def test_fewer_gpus_than_processes(on_submitit):
    label = "sft: train all (seed 0)"
    plan = on_submitit.plan("train.launcher=torchrun", "train.processes=8", "slurm.gpus=4", only={label})
    [job] = plan.jobs.values()
    with pytest.raises(UserError, match=r"train\.processes is 8, and SLURM is asked for 4 GPUs on each node"):
        parameters(plan, job, after=[])


@pytest.mark.parametrize("name", ["100%", "a\nb", "back\\slash"])
def test_a_store_that_batch_scripts_cannot_name(on_submitit, tmp_path, name):
    on_submitit.store = Store(tmp_path / name)
    plan = on_submitit.plan(only={"make the llama model (seed 0)"})
    with pytest.raises(UserError, match=r"SLURM cannot write to '.*' .give a --store whose path has no % or "):
        on_submitit.follow(plan)
    assert on_submitit.submissions() == []


@pytest.mark.parametrize("setting", ['slurm.partition="main\\nrm -r x"', 'slurm.extra={comment: "a\\nrm -r x"}'])
def test_a_setting_of_more_than_a_line_would_be_a_command(on_submitit, setting):
    plan = on_submitit.plan(setting, only={"make the llama model (seed 0)"})
    with pytest.raises(UserError, match=r"slurm: \w+: 'a?(main)?\\nrm -r x' is more than a line \(correct slurm: in"):
        on_submitit.follow(plan)
    assert on_submitit.submissions() == []
