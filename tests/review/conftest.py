"""A person at a terminal: a real pseudo-terminal of a given size, keys typed into it, and what stands on its page."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

CLEAR = "\x1b[H\x1b[2J"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 60
"""Seconds until something that should appear counts as missing."""


class Terminal:
    """A process at the other end of a pseudo-terminal."""

    def __init__(self, command, cwd, env, size):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        usual = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            env={**usual, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **env},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self.output = ""

    def type(self, keys):
        os.write(self._master, keys.encode())

    def _read(self, seconds):
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            self.output += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            return False
        return True

    def page(self):
        """The lines of the page as it was drawn last."""
        drawn = self.output.rpartition(CLEAR)[2]
        return [line.rstrip() for line in _STYLE.sub("", drawn).replace("\r", "").split("\n")]

    def until(self, *texts):
        """Wait until the last page holds these texts, and is whole; returns it."""
        return self.when(lambda page: all(text in "\n".join(page) for text in texts))

    def when(self, holds):
        """Wait until that holds of the last page, whole; returns it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            page = self.page()
            if page[-1].endswith("q quit") and holds(page):
                return page
            assert time.monotonic() < deadline, "\n".join(page)
            self._read(0.2)

    def ended(self):
        """Wait for the end; returns the exit code and what was said after the page."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self._read(0.1)
        while self._read(0.2):
            pass
        return self.process.returncode, _STYLE.sub("", self.output.rpartition("\x1b[?1049l")[2]).strip()

    def settings(self):
        return termios.tcgetattr(self._slave)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def terminal(program, tmp_path):
    """Starts a command at a terminal: `terminal("data", "review", path, size=(24, 60))`."""
    opened = []

    def start(*arguments, size=(24, 80), **env):
        opened.append(Terminal([*program, *arguments], tmp_path, env, size))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def candidates(tmp_path):
    """Writes a file of candidates; returns its path."""

    def write(rows, name="candidates.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def pairs(candidates):
    """Writes so many questions and answers: `pairs(3)`."""
    return lambda n, **more: candidates([{"input": f"question {i}", "output": f"answer {i}", **more} for i in range(n)])
