"""What the workers of a run see of the machine's GPUs. No GPU is needed: they look at their environment alone."""

import time

import psutil
import pytest

from harness.crew import Crew
from harness.data.resolve import Places
from harness.recipe import load
from harness.settings import Setting
from harness.store import Store
from harness.testing.tiny import tiny_recipe

GPUS = "GPU-aa,GPU-bb,GPU-cc"


def seen(process):
    while not (environment := psutil.Process(process.pid).environ()):  # not there yet at its very start
        time.sleep(0.01)
    return environment.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def crew(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)
    recipe = load(str(tiny_recipe(tmp_path)), [Setting.parse("runtime.gpus_per_job=1")])
    with Crew(recipe, Store(tmp_path / "store"), Places(None, tmp_path / "cache"), tmp_path / "logs") as crew:
        yield crew


def test_a_slice_is_given_back(crew):
    first, second = crew._hire("torch"), crew._hire("vllm")
    assert (seen(first.process), seen(second.process)) == ("GPU-aa", "GPU-bb")
    crew._dismiss(first)
    assert [seen(crew._hire("torch").process) for _ in range(2)] == ["GPU-aa", "GPU-cc"]


def test_the_log_of_another_worker_is_not_written_over(crew):
    crew.logs.mkdir()
    (crew.logs / "worker-1-torch.log").write_text("kept")
    assert crew._hire("torch").log.name == "worker-2-torch.log"
    assert (crew.logs / "worker-1-torch.log").read_text() == "kept"


@pytest.mark.timeout(180)
def test_jobs_side_by_side_see_disjoint_gpus(command, tmp_path):
    places = ("--store", tmp_path / "store", "--out", tmp_path / "run")
    arguments = ("run", tiny_recipe(tmp_path), "--plugins", "base", "--no-baseline", "--gpus-per-job", "1", *places)
    process = command(*arguments, cwd=tmp_path, env={"CUDA_VISIBLE_DEVICES": GPUS})
    side_by_side = set()
    while process.poll() is None:
        try:
            workers = [p for p in psutil.Process(process.pid).children() if "harness.worker" in p.cmdline()]
            side_by_side.add(tuple(sorted(filter(None, map(seen, workers)))))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.1)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert max(side_by_side, key=len) == ("GPU-aa", "GPU-bb", "GPU-cc")
    assert all(len(set(slices)) == len(slices) for slices in side_by_side)


def test_more_gpus_a_job_than_there_are_is_one_line(command, tmp_path):
    process = command(
        "run", tiny_recipe(tmp_path), "--gpus-per-job", "4", cwd=tmp_path, env={"CUDA_VISIBLE_DEVICES": GPUS}
    )
    _, err = process.communicate(timeout=60)
    said = "harness: jobs of 4 GPUs each, and this machine shows 3 (--gpus-per-job 3)"
    assert (process.returncode, err.strip().splitlines()[-1]) == (2, said)
