"""The filter of system calls, as the kernel reads it, for both machines."""

import ctypes
import os
import platform
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import Execute
from harness.sandbox.inside.seccomp import CALLS, CHECKS, REFEREE_CALLS, assemble
from harness.sandbox.sandbox import open_sandbox

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED, UNKNOWN = 0x7FFF0000, 0x80000000, 0x00050026


def verdict(program, number, arguments=(), architecture=None):
    """What classic BPF, run as seccomp(2) describes it, returns for a call."""
    words = [number, architecture, 0, 0]
    for argument in (*arguments, *[0] * (6 - len(arguments))):
        words += [argument & 0xFFFFFFFF, argument >> 32]
    at = accumulator = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            accumulator = words[constant // 4]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            at += yes if accumulator == constant else no
        elif code == 0x06:
            return constant


@pytest.fixture(params=ARCHITECTURES)
def judge(request):
    machine = request.param
    column = list(ARCHITECTURES).index(machine)

    def judge(name, *arguments, child=None):
        return verdict(assemble(machine, child), CALLS[name][column], arguments, ARCHITECTURES[machine])

    judge.machine, judge.column = machine, column
    return judge


@given(number=st.integers(0, 1023), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_what_is_not_listed_is_not_there(number, arguments):
    for column, (machine, architecture) in enumerate(ARCHITECTURES.items()):
        listed = {numbers[column]: name for name, numbers in CALLS.items()}
        found = verdict(assemble(machine), number, arguments, architecture)
        if number not in listed:
            assert found == UNKNOWN
        elif listed[number] not in CHECKS:
            assert found == ALLOWED


def test_calls_in_another_architectures_numbers_kill(judge):
    program = assemble(judge.machine)
    for architecture in (0x40000003, 0x40000028, *set(ARCHITECTURES.values()) - {ARCHITECTURES[judge.machine]}):
        assert verdict(program, 0, (), architecture) == KILLED
    x32 = 0x40000000
    assert verdict(program, x32 | 1, (), ARCHITECTURES[judge.machine]) == UNKNOWN


def test_files_may_be_opened_but_not_truncated_by_who_only_reads(judge):
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR):
        assert judge("openat", 0, 0, flags) == ALLOWED
    for flags in (os.O_RDONLY | os.O_TRUNC, os.O_TRUNC | os.O_CLOEXEC, 3, 3 | os.O_TRUNC):
        assert judge("openat", 0, 0, flags) == UNKNOWN


def test_descriptors_can_be_copied_but_not_made_to_send_signals(judge):
    assert {command for command in range(2048) if judge("fcntl", 0, command) == ALLOWED} == {0, 1, 2, 3, 4, 1030}


def test_only_streams_can_be_paired_and_nobody_be_written_to_by_name(judge):
    assert judge("socketpair", 1, 1 | 0o2000000) == ALLOWED
    assert judge("socketpair", 1, 2) == judge("socketpair", 2, 1) == UNKNOWN
    assert judge("sendto", 0, 0, 0, 0, 0) == ALLOWED
    assert judge("sendto", 0, 0, 0, 0, 1 << 32) == judge("sendto", 0, 0, 0, 0, 1) == UNKNOWN


def test_only_its_own_limits_can_be_read_and_none_be_set(judge):
    assert judge("prlimit64", 0, 7, 0, 1) == ALLOWED
    assert judge("prlimit64", 1, 7, 0, 1) == judge("prlimit64", 0, 7, 1 << 32) == UNKNOWN


def test_the_referee_may_kill_its_program_and_nobody_else(judge):
    number = (62, 129)[judge.column]
    for child, pid, expected in ((7, 7, ALLOWED), (7, 8, UNKNOWN), (None, 7, UNKNOWN)):
        assert verdict(assemble(judge.machine, child), number, (pid, 9), ARCHITECTURES[judge.machine]) == expected


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernels_headers(machine):
    if not HEADERS[machine].is_file():
        pytest.skip(f"there is no {HEADERS[machine]}: apt-get install linux-libc-dev")
    said = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[machine].read_text())
    numbers = {"newfstatat" if name == "fstatat" else name: int(number) for name, number in said}
    column = list(ARCHITECTURES).index(machine)
    ours = {name: of[column] for name, of in {**CALLS, **REFEREE_CALLS}.items()}
    assert ours == {name: numbers.get(name) for name in ours}


RAW = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def f(number):
    ctypes.set_errno(0)
    zeros = [ctypes.c_long(0)] * 6
    return libc.syscall(ctypes.c_long(number), *zeros), os.strerror(ctypes.get_errno())
"""
DANGEROUS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "fork": (57, None),
    "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221), "execveat": (322, 281), "socket": (41, 198),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "fsopen": (430, 430), "chroot": (161, 51),
    "pivot_root": (155, 41), "io_uring_setup": (425, 425), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "add_key": (248, 217), "keyctl": (250, 219), "memfd_create": (319, 279),
    "shmget": (29, 194), "msgget": (68, 186), "mq_open": (240, 180), "open_by_handle_at": (304, 265),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "setpriority": (141, 140), "setuid": (105, 146),
    "landlock_create_ruleset": (444, 444), "prctl": (157, 167), "personality": (135, 92), "fchmod": (91, 52),
    "setxattr": (188, 5), "mknodat": (259, 33), "symlinkat": (266, 36), "linkat": (265, 37), "truncate": (76, 45),
    "sync": (162, 81), "init_module": (175, 105), "kexec_load": (246, 104), "reboot": (169, 142),
    "process_madvise": (440, 440), "timer_create": (222, 107), "vmsplice": (278, 75), "setsid": (112, 157),
}  # fmt: skip


def test_the_kernel_itself_knows_none_of_the_dangerous_ones():
    numbers = [of[list(ARCHITECTURES).index(platform.machine())] for of in DANGEROUS.values()]
    missing = (-1, os.strerror(38))
    checks = f"def check(f):\n    for number in {[n for n in numbers if n is not None]}:\n"
    checks += f"        assert f(number) == {missing!r}, number"
    with open_sandbox() as sandbox:
        ended = sandbox.run(Execute(RAW, "f", checks))
    assert ended.outcome == "passed", ended


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are instructions of x86-64")
def test_instructions_that_call_the_kernel_by_32_bit_numbers_kill():
    code = """
import ctypes, mmap
getpid = bytes.fromhex("b814000000" "cd80" "c3")  # mov eax, 20; int 0x80; ret
page = mmap.mmap(-1, 4096, prot=7)
page.write(getpid)
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
f()
"""
    with open_sandbox() as sandbox:
        ended = sandbox.run(Execute(code, "f", "def check(f): pass"))
    assert (ended.outcome, ended.detail) == ("crashed", "was killed by SIGSYS")
    assert ctypes.sizeof(ctypes.c_void_p) == 8
