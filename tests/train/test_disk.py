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
