from __future__ import annotations

import subprocess

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import Failure
from harness.machine import failures_named


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB, and how to make it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("save", [save_file, torch.save])
def test_every_way_of_saving_says_that_the_disk_is_full(small_disk, save):
    place, _ = small_disk
    with pytest.raises(Failure, match="the disk is full while saving"), failures_named("saving", place):
        save({"a": torch.zeros(1_000_000)}, place / "file")


def test_training_goes_on_once_there_is_space(make, base, stage, small_disk):
    from harness.train.job import train

    place, grow = small_disk
    context = make.context(place / "stage", parents={"start": base}, checkpoint_steps=3)
    with pytest.raises(Failure, match=r"the disk is full while training .*free some space"):
        train(make.declare(**make.long), make.sources, make.noisy, context)
    grow("50m")
    outcome = train(make.declare(**make.long), make.sources, make.noisy, context)
    assert outcome["result"] == stage("whole", loss=make.noisy, **make.long)[0]["result"]


@pytest.fixture
def run(make, base, tmp_path):
    """Trains a stage whose renderings are kept in a folder."""
    from harness.train.job import train

    def stage(cache, seed=0):
        context = make.context(tmp_path / f"stage-{seed}", parents={"start": base}, cache=str(cache))
        return train(make.declare(seed=seed), make.sources, make.loss, context)["result"]["steps"]

    return stage


@pytest.mark.parametrize(
    ("options", "said"),
    [("size=8k", r"the disk that holds \S+tokens is full .*--store"), ("ro", r"tokens cannot be written .*--store")],
)
def test_a_cache_that_cannot_be_written_is_named_and_what_it_holds_is_still_read(small_disk, run, options, said):
    place, _ = small_disk
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
    with pytest.raises(Failure, match=said):
        run(place)
    assert not any(path.is_dir() for path in (place / "tokens").glob("*"))
    subprocess.run(["mount", "-o", "remount,rw,size=50m", place], check=True)
    assert run(place) > 0
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    assert run(place, seed=1) > 0
