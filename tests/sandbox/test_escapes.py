"""Attempts to get out, as root and as an ordinary user, through each kind of wall, each seen from outside.

The code of an attempt defines `f(w)`: `w` says where what it is after can be found. `seen(world, ended)` tells whether
it got there; without walls every one of them does, and a test shows it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

ORDINARY = 54321
RAW = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(x86_64, aarch64, *arguments):
    number = {"x86_64": x86_64, "aarch64": aarch64}[os.uname().machine]
    return libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
"""


@dataclass(frozen=True)
class Escape:
    name: str
    code: str
    seen: Callable
    controlled: bool = True
    """Whether it gets there where there are no walls; limits hold even then."""


def reads(name, *lines):
    return Escape(name, _function(lines), lambda world, ended: world.secret in ended.detail)


def writes(name, *lines):
    return Escape(name, _function(lines), lambda world, _: world.changed())


def connects(name, *lines):
    return Escape(name, _function(lines), lambda world, _: world.heard())


def multiplies(name, *lines):
    return Escape(name, _function(lines), lambda world, _: world.survivors())


def hurts(name, *lines):
    return Escape(name, _function(lines), lambda world, _: world.victim_hurt())


def boasts(name, *lines, controlled=True):
    """For what cannot be seen from outside: it says so itself."""
    return Escape(name, _function(lines), lambda _, ended: "got it" in ended.detail, controlled)


def _function(lines):
    imports = "import ctypes, fcntl, mmap, os, resource, signal, socket, subprocess, sys, threading, time\n"
    return imports + RAW + "def f(w):\n" + "".join(f"    {line}\n" for text in lines for line in text.splitlines())


ESCAPES = (
    # reading
    reads("read a file", "return open(w['secret_file']).read()"),
    reads("read through a link", "os.symlink(w['secret_file'], 'link')\nreturn open('link').read()"),
    reads(
        "read through a hard link",
        "os.link(w['secret_file'], w['outside'] + '/hard')",
        "return open(w['outside'] + '/hard').read()",
    ),
    reads("read through /proc", "return open(f\"/proc/{w['victim']}/root{w['secret_file']}\").read()"),
    reads(
        "read with the system call", "d = call(257, 56, -100, w['secret_file'].encode(), 0)", "return os.read(d, 99)"
    ),
    reads("list a folder", "return [name for name in os.listdir(w['home'])]"),
    reads("read another's environment", "return open(f\"/proc/{w['victim']}/environ\").read()"),
    reads("read another's command line", "return open(f\"/proc/{w['victim']}/cmdline\").read()"),
    reads(
        "read another's memory",
        "span = next(l for l in open(f\"/proc/{w['victim']}/maps\") if '[stack]' in l).split()[0].split('-')",
        "start, end = (int(x, 16) for x in span)",
        "d = os.open(f\"/proc/{w['victim']}/mem\", os.O_RDONLY)",
        "stack = os.pread(d, end - start, start)",
        "return 'secret-' + stack.split(b'HELD=secret-')[1][:32].decode()",
    ),
    boasts("trace another", "return 'got it' if libc.ptrace(16, w['victim'], 0, 0) == 0 else 0"),
    boasts("read descriptors of the harness", "return 'got it' if os.listdir(f\"/proc/{os.getppid()}/fd\") else 0"),
    # writing
    writes("write a file", "open(w['outside'] + '/new', 'w').write('x')"),
    writes("append to a file", "open(w['file'], 'a').write('x')"),
    writes("truncate a file", "os.truncate(w['file'], 0)"),
    writes("truncate a file that is opened to be read", "os.open(w['file'], os.O_RDONLY | os.O_TRUNC)"),
    writes("delete a file", "os.remove(w['file'])"),
    writes("rename a file", "os.rename(w['file'], w['file'] + '2')"),
    writes("link a file out", "open('x', 'w')\nos.symlink('x', w['outside'] + '/link')"),
    writes("make a folder", "os.mkdir(w['outside'] + '/folder')"),
    writes("make a pipe", "os.mkfifo(w['outside'] + '/pipe')"),
    writes("change a file's mode", "os.chmod(w['file'], 0o600)"),
    writes("change a file's times", "os.utime(w['file'], (1, 1))"),
    writes("write in shared memory", "open(w['shared'], 'w').write('x')"),
    writes("climb out of its folder", "open('../../../../../../' + w['outside'] + '/new', 'w').write('x')"),
    # network
    connects("connect by TCP", "socket.create_connection(('127.0.0.1', w['tcp']), 2)"),
    connects("send by UDP", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', w['udp']))"),
    connects(
        "send by UDP over IPv6",
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\ns.sendto(b'x', ('::ffff:127.0.0.1', w['udp']))",
    ),
    connects("send to a Unix socket", "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', w['unix'])"),
    connects(
        "send to an abstract socket", "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', w['abstract'])"
    ),
    connects("send from a socket pair", "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', w['abstract'])"),
    boasts("listen", "socket.create_server(('127.0.0.1', 0))\nreturn 'got it'"),
    boasts("talk to the kernel by netlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)\nreturn 'got it'"),
    # processes
    multiplies("fork", "if os.fork() == 0:\n    time.sleep(60)"),
    multiplies(
        "fork twice and leave the session",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
    ),
    multiplies("fork with the system call", "if call(56, 220, 17, 0, 0, 0, 0) == 0:\n    time.sleep(60)"),
    multiplies("fork a dozen times", "for _ in range(12):\n    if os.fork() == 0:\n        time.sleep(60)"),
    boasts(
        "start threads",
        "threads = [threading.Thread(target=time.sleep, args=(9,), daemon=True) for _ in range(5)]",
        "[t.start() for t in threads]",
        "return 'got it'",
    ),
    writes("start a program", "subprocess.run(['/bin/touch', w['outside'] + '/new'])"),
    writes("become a program", "os.execv('/bin/touch', ['touch', w['outside'] + '/new'])"),
    boasts("make a program in memory", "return 'got it' if os.memfd_create('x') else 0"),
    # signals and settings of others
    hurts("kill another", "os.kill(w['victim'], signal.SIGKILL)"),
    hurts("kill another's group", "os.killpg(w['victim'], signal.SIGKILL)"),
    hurts("kill with tgkill", "call(234, 131, w['victim'], w['victim'], 9)"),
    hurts("kill through a descriptor", "signal.pidfd_send_signal(os.pidfd_open(w['victim']), signal.SIGKILL)"),
    hurts(
        "have the kernel kill",
        "r, p = os.pipe()",
        "fcntl.fcntl(r, fcntl.F_SETOWN, w['victim'])",
        "fcntl.fcntl(r, 10, signal.SIGKILL)",
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)",
        "os.write(p, b'x')",
    ),
    hurts("slow another down", "os.setpriority(os.PRIO_PROCESS, w['victim'], 19)"),
    hurts("limit another", "resource.prlimit(w['victim'], resource.RLIMIT_NOFILE, (7, 7))"),
    hurts("move another to one core", "os.sched_setaffinity(w['victim'], {min(os.sched_getaffinity(0))})"),
    # resources
    boasts("take 10 GB", "x = bytearray(10 << 30)\nreturn 'got it'", controlled=False),
    boasts("map 10 GB of shared memory", "mmap.mmap(-1, 10 << 30)\nreturn 'got it'", controlled=False),
    boasts("make a huge file", "open('x', 'w').truncate(1 << 30)\nreturn 'got it'", controlled=False),
    boasts("lift its limits", "resource.setrlimit(resource.RLIMIT_CPU, (999, 999))\nreturn 'got it'", controlled=False),
)


@pytest.fixture(
    scope="module",
    params=[
        *((user, tier) for user in (0, ORDINARY) for tier in ("any", "landlock")),
        *(pytest.param(one, marks=pytest.mark.soak) for one in ((ORDINARY, "bubblewrap"), (0, "podman"))),
    ],
    ids=lambda param: f"{'root' if param[0] == 0 else 'user'}-{param[1]}",
)
def keeper(request, keep):
    user, tier = request.param
    keeper = keep(user, tier)
    if keeper.refused and tier in ("bubblewrap", "podman"):
        pytest.skip(keeper.refused)
    assert keeper.refused is None
    return keeper


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
def test_nothing_gets_out(keeper, world, escape):
    place = world(keeper)
    ended = keeper.run(escape.code, checks=place.checks())
    assert not escape.seen(place, ended), ended
    assert ended.outcome in ("failed", "memory")
    assert keeper.process.poll() is None


@pytest.fixture(scope="module")
def unsafe(keep):
    return keep(os.geteuid(), "unsafe")


@pytest.mark.parametrize("escape", [e for e in ESCAPES if e.controlled], ids=lambda escape: escape.name)
def test_without_walls_each_attempt_gets_there(unsafe, world, escape):
    place = world(unsafe)
    ended = unsafe.run(escape.code, checks=place.checks())
    assert escape.seen(place, ended), ended
