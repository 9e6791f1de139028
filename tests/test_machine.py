from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import Failure
from harness.machine import Relief, failures_named, killed_for_memory


def test_memory_that_cannot_be_had_names_the_remedy():
    with (
        pytest.raises(Failure, match=r"out of memory while training .*micro_tokens"),
        failures_named("training", Path()),
    ):
        torch.empty(10**15)


def test_what_to_lower_depends_on_the_work():
    with (
        pytest.raises(Failure, match=r"out of memory while evaluating \(lower --set runtime.batch_size"),
        failures_named("evaluating", Path(), "runtime.batch_size"),
    ):
        torch.empty(10**15)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number):
    with (
        pytest.raises(Failure, match="the disk is full while merging in here"),
        failures_named("merging", Path("here")),
    ):
        raise OSError(number, "full")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), RuntimeError("another"), KeyError("x")])
def test_what_is_not_the_machines_fault_passes(error):
    with pytest.raises(type(error)), failures_named("training", Path()):
        raise error


def test_whoever_knows_better_says_what_takes_less():
    known = Relief("it needed more than 24 GiB; the estimate was 31 GiB", "fits: --set runtime.micro_tokens=2048")
    with pytest.raises(Failure) as caught, failures_named("training", Path(), relief=lambda: known):
        torch.empty(10**15)
    assert str(caught.value) == f"out of memory while training: {known.wanted} ({known.remedy})"


@pytest.fixture
def confined():
    """Runs Python code in a memory cgroup of so many MiB."""
    home = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
    group = home / f"harness-test-{os.getpid()}"
    limit = next((name for name in ("memory.max", "memory.limit_in_bytes") if (home / name).exists()), "memory.max")
    try:
        group.mkdir()
        (group / limit).write_text(str(64 * 2**20))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")

    def run(code):
        joined = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n{code}"
        return subprocess.run([sys.executable, "-c", joined], capture_output=True, check=False, timeout=60).returncode

    yield run
    group.rmdir()


@pytest.mark.timeout(90)
def test_a_kill_for_want_of_memory_is_told_from_any_other(confined):
    before = killed_for_memory()
    assert confined("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == -9
    assert killed_for_memory() == before
    assert confined("x = bytearray(512 * 2**20)") == -9
    assert killed_for_memory() > before
