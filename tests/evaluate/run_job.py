"""One respond job in a process of its own, to be killed: python run_job.py MODEL_PARENT ROOT FOLDER."""

import importlib
import sys
from pathlib import Path

from harness.api import Arm
from harness.context import Context
from harness.engines.pool import Engines
from harness.evaluate.declare import Declarer
from harness.evaluate.respond import Assignment, respond
from harness.jobs import EngineSettings

if __name__ == "__main__":
    parent, root, folder = map(Path, sys.argv[1:])
    (gsm8k,) = importlib.import_module("harness.plugins.gsm8k").evaluator(Arm("sft", ("sft",)))
    settings = EngineSettings(name="hf")
    declared = Declarer("test 1.0", root, None).respond(gsm8k.task, settings, limit=None, seed=0)
    runtime = {"data_root": root, "batch_size": 2}
    context = Context(folder, {"model": parent}, runtime, lambda _: None)
    list(respond([Assignment(declared, gsm8k.task, context)], Engines()))
