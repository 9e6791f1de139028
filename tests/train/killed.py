"""Trains a stage in a process of its own, to be killed: `killed.py CONFTEST BASE FOLDER WHICH`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    from harness.train.job import train

    base, folder = Path(sys.argv[2]), Path(sys.argv[3])
    context = conftest.context(folder, parents={"start": base}, checkpoint_steps=3, micro_tokens=64)
    declared, loss = conftest.KILLED[sys.argv[4]]
    train(conftest.declare(**declared), conftest.SOURCES, loss, context)


if __name__ == "__main__":
    main()
