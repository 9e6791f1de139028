"""One evaluate job in a process of its own, to be killed: python run_job.py MODEL_PARENT ROOT FOLDER."""

import importlib
import sys
from pathlib import Path

from harness.api import Arm
from harness.context import Context
from harness.engines.pool import Engines
from harness.evaluate.declare import declare
from harness.evaluate.job import evaluate
from harness.jobs import EngineSettings

if __name__ == "__main__":
    parent, root, folder = map(Path, sys.argv[1:])
    (gsm8k,) = importlib.import_module("harness.plugins.gsm8k").evaluator(Arm("sft", ("sft",)))
    settings = EngineSettings(name="hf")
    declared = declare(gsm8k, "test 1.0", settings, data_root=root, cache=None, limit=None, seed=0)
    runtime = {"data_root": root, "batch_size": 2}
    evaluate(declared, gsm8k, Engines(), Context(folder, {"model": parent}, runtime, lambda _: None))
