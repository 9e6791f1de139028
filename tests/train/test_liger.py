from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness import preflight
from harness.train import liger


def test_without_a_gpu_liger_is_refused(refused, stage):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert refused(stage, execution={"liger": True}) == (
        "train.liger needs a GPU, for which its kernels are compiled (--set train.liger=false)"
    )


def test_a_version_with_wrong_gradients_is_refused(refused, monkeypatch):
    monkeypatch.setattr(liger, "version", lambda _: "0.8.4")
    assert "liger-kernel 0.8.4 computes wrong gradients" in refused(liger.check)
    monkeypatch.setattr(liger, "version", lambda _: "0.10.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    liger.check()


def test_a_missing_liger_is_named_with_its_extra(refused, stage, monkeypatch):
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == "liger_kernel" else name)
    said = "train.liger needs liger_kernel (pip install 'instruct-harness[liger]')"
    assert refused(stage, execution={"liger": True}) == said


@pytest.mark.timeout(180)
def test_the_fused_loss_and_its_gradients_equal_ours_where_tokens_weigh_differently():
    """In a process of its own: whether Triton interprets is settled when it is imported."""
    script = Path(__file__).with_name("fused.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout.splitlines()[-1])
    assert [len(case) for case in cases] == [3, 4, 2]
    assert max(max(case.values()) for case in cases) < 2e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="Liger's layers need a GPU: Triton interprets its loss alone")
def test_a_stage_with_fused_kernels_learns_what_one_without_learns(make, stage):
    _, plain = stage("plain", lr=1e-3)
    outcome, fused = stage("fused", lr=1e-3, execution={"liger": True})
    assert outcome["measured"]["liger"] == liger.installed()
    for name, tensor in make.weights(fused).items():
        torch.testing.assert_close(tensor, make.weights(plain)[name], atol=1e-4, rtol=0, msg=name)
