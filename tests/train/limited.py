"""Trains a stage in a process of its own that may have little memory: `limited.py CONFTEST BASE FOLDER MIB`."""

from __future__ import annotations

import importlib.util
import resource
import sys
from pathlib import Path

import psutil


def main() -> None:
    spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    from harness.errors import Failure
    from harness.train.job import train

    base, folder = Path(sys.argv[2]), Path(sys.argv[3])
    context = conftest.context(folder, parents={"start": base}, micro_tokens=8192)
    declared = conftest.declare(mixture=("first", "second"), batch_size=64, max_length=256, epochs=1)
    limit = psutil.Process().memory_info().vms + int(sys.argv[4]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        train(declared, conftest.SOURCES, conftest.RESPONSE, context)
    except Failure as failure:
        sys.stdout.write(f"{failure}\n")


if __name__ == "__main__":
    main()
