"""The benchmark of training runs on the training code as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "train.py"


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_it_trains_on_both_lengths_and_tells_the_speed():
    options = ["--rounds", "1", "--steps", "1", "--alone", "--threads", "1"]
    done = subprocess.run([sys.executable, BENCHMARK, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rates = re.findall(r"^(gsm8k|long-tailed)\n.*\n +ours, \d+ +([\d,]+) ", done.stdout, re.MULTILINE)
    assert [name for name, _ in rates] == ["gsm8k", "long-tailed"]
    assert all(int(rate.replace(",", "")) > 0 for _, rate in rates)
