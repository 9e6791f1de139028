"""The filter of system calls: a short list is there, and every other one is "not implemented".

With no call to make a process or a thread, to start a program, to send a signal, to trace, to mount, or to open a
socket, one process is all that a program can be, now and later, and what it may ask of the kernel is small. A list of
what is allowed also holds against calls that are yet to be invented.

The filter is classic BPF (https://docs.kernel.org/userspace-api/seccomp_filter.html): a sequence of instructions that
looks at the number and the arguments of a call and returns a verdict.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.sandbox.inside import linux

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_MODE_FILTER = 1

_LOAD, _JUMP_IF_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _KILL, _NOT_IMPLEMENTED = 0x7FFF0000, 0x80000000, 0x00050000 | 38
_ALL_BITS = 0xFFFFFFFF


class Check(NamedTuple):
    """Half of an argument, masked, must be one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = _ALL_BITS
    upper: bool = False
    """The upper 32 bits; the kernel looks at them in pointers only."""


def _null(argument: int) -> tuple[Check, Check]:
    return Check(argument, (0,)), Check(argument, (0,), upper=True)


_TRUNCATE, _ACCESS = os.O_TRUNC, os.O_ACCMODE
_OPENED = tuple(access | extra for access in range(3) for extra in (0, _TRUNCATE) if access or not extra)
"""Opening to read truncates too, if asked to, and the first versions of Landlock do not look."""
_DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 4, 1030)  # duplicate, and flags; not F_SETOWN and F_SETSIG, which send signals
_DEVICE_COMMANDS = (0x5401, 0x5421, 0x5450, 0x5451)  # TCGETS, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI
_UNIX, _STREAM, _TYPE = 1, 1, 0xF

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "open": (Check(1, _OPENED, _ACCESS | _TRUNCATE),),
    "openat": (Check(2, _OPENED, _ACCESS | _TRUNCATE),),
    "fcntl": (Check(1, _DESCRIPTOR_COMMANDS),),
    "ioctl": (Check(1, _DEVICE_COMMANDS),),
    "prlimit64": (Check(0, (0,)), *_null(2)),  # its own limits, to be read
    # A pair connected to itself, for asyncio. A datagram socket could write to any other by its name.
    "socketpair": (Check(0, (_UNIX,)), Check(1, (_STREAM,), _TYPE)),
    "sendto": _null(4),
}

# fmt: off
CALLS: Mapping[str, tuple[int | None, int | None]] = {  # numbers on x86_64 and aarch64
    # descriptors
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "close": (3, 57), "lseek": (8, 62), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "fcntl": (72, 25),
    "ioctl": (16, 29), "pipe": (22, None), "pipe2": (293, 59), "eventfd2": (290, 19), "ftruncate": (77, 46),
    "fsync": (74, 82), "socketpair": (53, 199), "sendto": (44, 206), "recvfrom": (45, 207),
    "select": (23, None), "pselect6": (270, 72), "poll": (7, None), "ppoll": (271, 73), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    # files
    "open": (2, None), "openat": (257, 56), "stat": (4, None), "lstat": (6, None), "fstat": (5, 80),
    "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61),
    "getcwd": (79, 17), "statfs": (137, 43), "fstatfs": (138, 44), "unlink": (87, None), "unlinkat": (263, 35),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214),
    # time, waiting, and signals to itself that come with time
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "pause": (34, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103), "alarm": (37, None), "futex": (202, 98), "sched_yield": (24, 124),
    "restart_syscall": (219, 128), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    # what it is, and its end
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160), "sysinfo": (99, 179), "getrusage": (98, 165),
    "prlimit64": (302, 261), "sched_getaffinity": (204, 123), "getrandom": (318, 278), "exit": (60, 93),
    "exit_group": (231, 94),
}
REFEREE_CALLS: Mapping[str, tuple[int | None, int | None]] = {"kill": (62, 129), "wait4": (61, 260)}
# fmt: on


class Instruction(NamedTuple):
    """One of BPF: `code`, how far to jump on yes and no, and a constant."""

    code: int
    yes: int
    no: int
    constant: int


def install(child: int | None = None) -> None:
    """Filter this process, for good; all that it may signal is `child`. `no_new_privs` must be set.

    Raises OSError where the kernel has no filters, or the machine is neither x86-64 nor ARM64.
    """
    machine = os.uname().machine
    if machine not in _SECCOMP:
        raise OSError(f"seccomp: the numbers of {machine}'s system calls are not known")
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in assemble(machine, child))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    linux.call("seccomp", _SECCOMP[machine], _SET_MODE_FILTER, 0, header)


def assemble(machine: str, child: int | None = None) -> list[Instruction]:
    """The filter for a machine: another architecture's calls kill; then comes one block for each that is allowed."""
    calls, checks = CALLS, CHECKS
    if child is not None:
        calls = {**CALLS, **REFEREE_CALLS}
        checks = {**CHECKS, "kill": (Check(0, (child,)),)}
    column = list(_SECCOMP).index(machine)
    program = [
        Instruction(_LOAD, 0, 0, _ARCH_AT),
        Instruction(_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        Instruction(_RETURN, 0, 0, _KILL),
        Instruction(_LOAD, 0, 0, _NUMBER_AT),
    ]
    for name, numbers in calls.items():
        if (number := numbers[column]) is not None:
            block = _verdict(checks.get(name, ()))
            program += [Instruction(_JUMP_IF_EQUAL, 0, len(block), number), *block]
    return [*program, Instruction(_RETURN, 0, 0, _NOT_IMPLEMENTED)]


def _verdict(checks: Sequence[Check]) -> list[Instruction]:
    """Allow where every check holds."""
    block: list[Instruction] = []
    for check in checks:
        block += [
            # Little-endian machines both: the lower half comes first.
            Instruction(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * check.argument + 4 * check.upper),
            Instruction(_AND, 0, 0, check.mask),
        ]
        left = len(check.values)
        for value in check.values:
            left -= 1
            block.append(Instruction(_JUMP_IF_EQUAL, left + 1, 0, value))
        block.append(Instruction(_RETURN, 0, 0, _NOT_IMPLEMENTED))
    return [*block, Instruction(_RETURN, 0, 0, _ALLOW)]
