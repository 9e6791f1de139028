"""Trains a stage with processes of its own, to be killed with them: `launched.py CONFTEST ROOT FOLDER SETTING...`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    conftest, root, folder, *settings = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("conftest", conftest)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.LaunchedStage(Path(root), *settings).train(Path(folder), checkpoint_steps=3)


if __name__ == "__main__":
    main()
