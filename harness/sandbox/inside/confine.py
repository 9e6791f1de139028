"""The walls, put up by the process that is to be inside, one after the other. What it starts is inside them too."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence
from typing import NamedTuple

from harness.sandbox.inside import landlock, linux, mounts

SCRATCH = "/program"
"""Where a program may write, and where it starts: a small file system in memory, gone with the program."""
SCRATCH_BYTES = 16 << 20

_OPEN_FILES = 64
_OOM_SCORE = "/proc/self/oom_score_adj"
_NOBODY = 65534
_UNUSED_USERS = 0x70000000
"""Beyond what distributions and containers hand out; user ids have 32 bits."""


class Walls(NamedTuple):
    """What is to stand round a program before it runs; the filter of system calls stands in any case."""

    own_root: bool
    """A root folder that holds nothing but what may be read, and SCRATCH."""
    landlock: bool
    readable: tuple[str, ...]


def be_killed_first() -> None:
    """Where memory runs out in spite of all limits, have the kernel end this process and not the harness."""
    if os.path.exists(_OOM_SCORE):  # noqa: PTH110 - as in landlock.py
        with open(_OOM_SCORE, "w", encoding="ascii") as file:  # noqa: PTH123
            file.write("1000")


def limit_resources(memory_bytes: int) -> None:
    """Bound what this process and each that it starts may use."""
    _set_limits(
        {
            resource.RLIMIT_AS: memory_bytes,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: SCRATCH_BYTES,
            resource.RLIMIT_MEMLOCK: 0,
            resource.RLIMIT_NOFILE: _OPEN_FILES,
        }
    )


def limit_program(cpu_seconds: int) -> None:
    """Bound this process alone: its CPU time, and that it starts no other."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    _set_limits({resource.RLIMIT_NPROC: 0})


def _set_limits(limits: dict[int, int]) -> None:
    for which, value in limits.items():
        resource.setrlimit(which, (value, value))


def put_up(walls: Walls) -> None:
    """Put up all of the walls. Raises OSError for one that does not stand."""
    os.umask(0o022)
    root = os.geteuid() == 0
    user, group = (_unused_user(),) * 2 if root else (os.geteuid(), os.getegid())
    if walls.own_root:
        mounts.enter_new_root(walls.readable, SCRATCH, SCRATCH_BYTES, user, group)
    if root:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        if not all(os.access(path, os.R_OK) for path in walls.readable):
            raise OSError("Python, or numpy, lies where only root can read it")
    linux.drop_capabilities()
    linux.prctl("no_new_privs", linux.NO_NEW_PRIVS, 1)
    linux.prctl("dumpable", linux.DUMPABLE, 0)
    if walls.landlock:
        landlock.restrict(walls.readable, SCRATCH if walls.own_root else None)


def die_with(parent: int) -> None:
    """Be killed when `parent` ends, however it ends. Changing the user id takes this back."""
    linux.prctl("parent death signal", linux.PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request was made
        os._exit(1)


def keep_open(descriptors: Sequence[int]) -> None:
    """Close every descriptor but the standard ones and these."""
    start = 3
    for descriptor in sorted(descriptors):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, 1 << 16)


def _unused_user() -> int:
    """A user id for this program alone, as far as this machine or container has so many."""
    wanted = _UNUSED_USERS + os.getpid()
    with open("/proc/self/uid_map", encoding="ascii") as file:  # noqa: PTH123 - as in landlock.py
        ranges = [tuple(map(int, line.split())) for line in file]
    return wanted if any(first <= wanted < first + count for first, _, count in ranges) else _NOBODY
