"""The kit for plug-in authors: check a plug-in, make a tiny model, run the whole pipeline on a small playground."""

from harness.testing.check import EXAMPLE_DATA, check_plugin
from harness.testing.tiny import run_tiny, tiny_model

__all__ = ["EXAMPLE_DATA", "check_plugin", "run_tiny", "tiny_model"]
