from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from harness.errors import Failure
from harness.machine import failures_named


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
