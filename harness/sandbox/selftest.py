"""Whether a tier holds on this machine, found out by trying to get out."""

from __future__ import annotations

import os
import select
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.api import Execute, Execution

_SECONDS, _MEMORY_GIB = 1.0, 0.5

_ESCAPES = '''
import ctypes, os, resource, socket, sys

def reached(secret, outside, tcp, udp, parent):
    """Names of what was possible and should not be."""
    found = []

    def attempt(name, action):
        try:
            action()
        except BaseException:
            return
        found.append(name)

    def write():
        with open(os.path.join(outside, "written"), "w") as file:
            file.write("here")

    def fork():
        if os.fork() == 0:
            os._exit(0)

    attempt("read a file", lambda: open(secret).read())
    attempt("list a folder", lambda: os.listdir(outside))
    attempt("write a file", write)
    attempt("link to a file", lambda: os.symlink(secret, os.path.join(outside, "link")))
    attempt("connect by TCP", lambda: socket.create_connection(("127.0.0.1", tcp), 1))
    attempt("send by UDP", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", udp)))
    attempt("open a Unix socket", lambda: socket.socket(socket.AF_UNIX))
    attempt("start a process", fork)
    attempt("start a program", lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}))
    attempt("signal its parent", lambda: os.kill(os.getppid(), 0))
    attempt("signal the harness", lambda: os.kill(parent, 0))
    attempt("read another's environment", lambda: open(f"/proc/{parent}/environ").read())
    attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)))
    attempt("take 1 GiB of memory", lambda: bytearray(1 << 30))
    return found
'''
_NONE_REACHED = (
    "def check(reached):\n    found = reached({arguments})\n    assert not found, 'could ' + ', '.join(found)"
)
_EXPECTED = {
    "a right function": ("def double(x):\n    return 2 * x", _SECONDS, "passed"),
    "a wrong function": ("def double(x):\n    return x", _SECONDS, "failed"),
    "an exit with code 0": ("import sys\nsys.exit(0)", _SECONDS, "failed"),
    "a program that waits": ("while True:\n    __import__('time').sleep(1)", 0.05, "timeout"),
}
_DOUBLES = "def check(double):\n    assert double(21) == 42"


def fault(run: Callable[[Execute], Execution]) -> str | None:
    """What is wrong with a way of running programs; None where it judges right and nothing gets out."""
    for what, (code, seconds, expected) in _EXPECTED.items():
        ended = run(Execute(code, "double", _DOUBLES, seconds, _MEMORY_GIB))
        if ended.outcome != expected:
            told = f": {ended.detail}" if ended.detail else ""
            return ended.detail if ended.outcome == "sandbox_failure" else f"{what} {ended.outcome}{told}"
    return _leak(run)


def _leak(run: Callable[[Execute], Execution]) -> str | None:
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        secret, outside = Path(folder, "secret"), Path(folder, "outside")
        secret.write_text("secret")
        outside.mkdir()
        for open_to_all, mode in ((Path(folder), 0o755), (secret, 0o644), (outside, 0o777)):
            open_to_all.chmod(mode)  # so that only the walls keep others out
        udp.bind(("127.0.0.1", 0))
        ports = (tcp.getsockname()[1], udp.getsockname()[1])
        arguments = ", ".join(map(repr, (str(secret), str(outside), *ports, os.getpid())))
        checks = _NONE_REACHED.format(arguments=arguments)
        ended = run(Execute(_ESCAPES, "reached", checks, _SECONDS, _MEMORY_GIB))
        if ended.outcome != "passed":
            return ended.detail or ended.outcome
        touched = any(outside.iterdir()) or select.select([tcp, udp], [], [], 0)[0]
        return "it was not noticed, but something got out" if touched else None
