"""GPUs counted without torch, and shared out to jobs."""

import pytest

from harness.devices import shared_out, visible_gpus
from harness.errors import Failure
from harness.execution import Execution

ONE = Execution()
TORCHRUN = Execution(launcher="torchrun", processes=2)


@pytest.mark.parametrize(
    ("named", "gpus"),
    [
        ("2,3", ("2", "3")),
        (" 0 , 1", ("0", "1")),
        ("GPU-8f2b,GPU-19ac", ("GPU-8f2b", "GPU-19ac")),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),
        ("NoDevFiles", ()),
    ],
)
def test_what_cuda_visible_devices_names_is_what_there_is(named, gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def test_one_gpu_named_twice_is_refused_for_cuda_would_show_none(monkeypatch, refused):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0,1")
    assert refused(visible_gpus) == "CUDA_VISIBLE_DEVICES=1,0,1 names 1 twice (name each GPU once)"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of this name in the way, a line of shell."""

    def put(line):
        smi = tmp_path / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\n{line}\n")
        smi.chmod(0o755)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


def test_without_it_nvidia_smi_is_asked(nvidia_smi):
    nvidia_smi("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\necho '  MIG 1g: (UUID: MIG-1)'\necho 'GPU 1: x'")
    assert visible_gpus() == ("0", "1")


def test_a_machine_whose_gpus_are_taken_out_has_none(nvidia_smi):
    nvidia_smi("echo 'No devices were found'; exit 6")
    assert visible_gpus() == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo 'NVIDIA-SMI has failed: no driver'; exit 9", "nvidia-smi fails: NVIDIA-SMI has failed: no driver ("),
        ("exit 1", "nvidia-smi fails: without a word ("),
        ("exec sleep 60", "nvidia-smi does not answer within 0.2 s ("),
    ],
)
def test_gpus_that_cannot_be_counted_are_not_replaced_by_cpus(line, said, nvidia_smi, monkeypatch):
    monkeypatch.setattr("harness.devices._PATIENCE_SECONDS", 0.2)
    nvidia_smi(line)
    with pytest.raises(Failure) as caught:
        visible_gpus()
    assert str(caught.value) == (
        f"{said}mend the driver, or set CUDA_VISIBLE_DEVICES: to the GPUs to use, or to nothing for CPUs)"
    )


def test_without_either_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == ()


@pytest.mark.parametrize(
    ("gpus", "workers", "per_job", "execution", "places"),
    [
        ("", 2, None, ONE, [None, None]),
        ("0", 1, None, ONE, ["0"]),
        ("0", 2, None, ONE, ["0", "0"]),
        ("0 1 2", 1, None, ONE, ["0", "1", "2"]),
        ("0 1 2 3", 1, None, TORCHRUN, ["0,1,2,3"]),
        ("0 1 2 3", 1, 2, TORCHRUN, ["0,1", "2,3"]),
        ("4 5 6", 5, 2, ONE, ["4,5"]),
        ("a b", 1, 1, ONE, ["a", "b"]),
    ],
)
def test_jobs_side_by_side_have_gpus_of_their_own(gpus, workers, per_job, execution, places):
    assert shared_out(gpus.split(), workers, per_job, execution) == places


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        (("0 1", 1, 4, ONE), "jobs of 4 GPUs each, and this machine shows 2 (--gpus-per-job 2)"),
        (("", 1, 1, ONE), "jobs of 1 GPU each, and this machine shows no GPU (see CUDA_VISIBLE_DEVICES)"),
        (
            ("0 1", 1, 1, TORCHRUN),
            "train.processes=2 are one a GPU, and a job has 1 GPU (lower train.processes, or raise --gpus-per-job)",
        ),
        (
            ("", 2, None, Execution(launcher="torchrun", nodes=2)),
            "2 jobs side by side, each on 2 nodes, would meet at one rendezvous",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused(shared, said, refused):
    gpus, *more = shared
    assert refused(shared_out, gpus.split(), *more).startswith(said)
