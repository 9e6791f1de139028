"""What a process takes of the processors beside others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import group_gives_way

AUTOGROUP = Path("/proc/self/autogroup")


def child(code: str) -> str:
    """What a process that leads a session of its own prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, start_new_session=True
    ).stdout.strip()


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_a_new_session_is_made_as_nice_as_its_maker():
    said = child(
        "import os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from harness.processes import group_gives_way\n"
        "os.nice(5)\n"
        "waits = [sys.executable, '-c', 'input()']\n"
        "with subprocess.Popen(waits, stdin=subprocess.PIPE, start_new_session=True) as one:\n"
        "    group_gives_way(one.pid)\n"
        "    print(Path(f'/proc/{one.pid}/autogroup').read_text())\n"
        "    one.communicate(b'\\n')\n"
    )
    assert said.endswith(f"nice {os.nice(0) + 5}")


def test_a_session_that_is_gone_is_left_alone():
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as gone:
        pass
    group_gives_way(gone.pid)
