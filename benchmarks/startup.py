"""How long the commands take that do no work, beside an empty Python process: seconds, and how many times as long.

    python benchmarks/startup.py --repeats 7

The last line is a second `harness run` of a finished run (a tiny one, made first). The commands take turns, so that a
busy machine slows all alike; the median counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.testing import run_tiny

MAIN = "from harness.cli import main; main()"


def commands(folder: Path) -> dict[str, list[str]]:
    """Name to command; the first is what the others are compared with."""
    harness = [sys.executable, "-c", MAIN]
    finished = ["tiny.yaml", "--plugins", "im,dmt", "--store", "store", "--out", "run"]
    run_tiny(["im,dmt"], folder)
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "harness --help": [*harness, "--help"],
        "harness plugins": [*harness, "plugins"],
        "harness plan (playground)": [*harness, "plan", "--plugins", "base", "--plugins", "im,dmt", "--factorial"],
        "harness run, the second time": [*harness, "run", *finished],
    }


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = commands(folder)
        taken: dict[str, list[float]] = {what: [] for what in chosen}
        for _ in range(repeats + 1):
            for what, command in chosen.items():
                taken[what].append(seconds(command, folder))
    medians = {what: statistics.median(times[1:]) for what, times in taken.items()}  # the first fills the disk's cache
    usual = next(iter(medians.values()))
    print(f"median of {repeats}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for what, median in medians.items():
        print(f"{what:<30} {median:6.3f} s  {median / usual:5.1f} x")


if __name__ == "__main__":
    main()
