"""Processes that end together, and how one ended put into words."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux for SIGKILL when the process `parent` goes, even by SIGKILL itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it went before the request was made
            os._exit(1)


def group_gives_way(leader: int) -> None:
    """Have the session of a new process be as nice as this one.

    Where Linux groups processes by session (`man 7 sched`, autogroup), niceness counts within one only, and a session
    full of nice processes takes as much as any other.
    """
    with suppress(OSError):  # there is no such grouping, or it was asked too often
        Path(f"/proc/{leader}/autogroup").write_text(f"{os.nice(0)}", encoding="ascii")


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill the leader of a process group with everything it started there, and wait for the leader."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def how_it_ended(code: int) -> str:
    """`was killed by SIGKILL` of -9, `ended with exit code 3` of 3."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def main() -> None:
    """`python -m harness.processes PARENT MODULE ARGUMENT...`: run a module that dies with the process PARENT."""
    die_with_parent(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
