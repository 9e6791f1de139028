"""A stage that runs out of memory says what it needed, what was estimated, and what would fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
def test_exhausted_memory_is_told_with_the_estimate_and_what_would_fit(make, tmp_path):
    base = tmp_path / "base"
    make.prepare(base, hidden_size=256, intermediate_size=768, num_hidden_layers=10, num_attention_heads=8)
    arguments = [Path(__file__).with_name("limited.py"), make.conftest, base, tmp_path / "stage", "500"]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(
        r"out of memory while training: it needed more than the [\d.]+ GiB of memory it may use; "
        r"the estimate was [\d.]+ GiB \(fits: --set runtime\.micro_tokens=\d+ \(about [\d.]+ GiB\).*\)",
        said,
    ), said
