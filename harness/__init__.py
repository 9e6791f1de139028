"""instruct-harness: compare instruction-tuning methods fairly.

A run is a plan (plain data) executed job by job into a content-addressed store; the leaderboard is
built from that store alone. Methods are plug-ins that return values; see `harness.api`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("instruct-harness")
except PackageNotFoundError:  # a source tree on PYTHONPATH that was never installed
    __version__ = "0+unknown"
