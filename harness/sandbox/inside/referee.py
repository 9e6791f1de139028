"""The referee's process: it runs the checks, and asks the program's process for every value that they want.

Whether the checks were passed is decided and said here. The program has neither the checks, nor this process's
memory, nor a descriptor that leads to the verdict: all that it can do is return values.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
from contextlib import suppress
from typing import Any, NamedTuple

from harness.sandbox.inside.wire import decode, encode, send

_LARGEST_REPLY = 1 << 20
_CHUNK = 1 << 16


class Ended(BaseException):
    """How the program ended, raised from wherever that became known, through whatever the checks catch."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


class OutOfTime(BaseException):
    """Raised by the clock, as above."""


class ProgramError(Exception):
    """What the program raised, as the checks see it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.outcome = "memory" if kind == "MemoryError" else "failed"


class Allowance(NamedTuple):
    """What a program may use: CPU and wall-clock seconds, and bytes written to standard output and error."""

    cpu_seconds: int
    wall_seconds: float
    output_bytes: int


class Contestant(NamedTuple):
    """The program's process, seen from here: its id, and the descriptors that lead to it and from it."""

    process: int
    requests: int
    replies: int
    output: int


def judge(job: dict[str, str], contestant: Contestant, allowance: Allowance) -> tuple[str, str]:
    """Outcome and detail of the job: its `code`, `entry_point` and `checks`."""
    program = _Program(contestant, allowance)
    signal.signal(signal.SIGALRM, _ring)
    # Again and again: where Python swallows an exception, in a finaliser, one ring would be lost.
    signal.setitimer(signal.ITIMER_REAL, allowance.wall_seconds, 1.0)
    try:
        outcome, detail = _check(job, program)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTime:
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcome, detail = "timeout", f"had not ended after {allowance.wall_seconds:g} s"
    program.end()
    return outcome, detail


def _ring(*_: object) -> None:
    raise OutOfTime


def _check(job: dict[str, str], program: _Program) -> tuple[str, str]:
    space: dict[str, Any] = {"__name__": "checks"}
    try:
        exec(compile(job["checks"], "<checks>", "exec"), space)  # noqa: S102 - confined as the program is
        check = space["check"]
    except Exception as error:  # noqa: BLE001 - the program had no part in it
        return "sandbox_failure", f"the checks cannot be run: {type(error).__name__}: {error}"
    # Checks that call the function by its name mean the program's.
    space[job["entry_point"]] = program
    try:
        program.load(job["code"], job["entry_point"])
        check(program)
    except Ended as end:
        return end.outcome, end.detail
    except ProgramError as error:
        return error.outcome, str(error)
    except Exception as error:  # noqa: BLE001 - checks fail in whatever way they like
        return "failed", f"{type(error).__name__}: {error}".removesuffix(": ")
    return "passed", ""


class _Program:
    """The function that the program defines; called here, run there."""

    def __init__(self, contestant: Contestant, allowance: Allowance) -> None:
        self._contestant = contestant
        self._allowance = allowance
        self._ended = False
        self._read = bytearray()
        self._written = 0
        self._poll = select.poll()
        for descriptor in (contestant.replies, contestant.output):
            self._poll.register(descriptor, select.POLLIN)

    def load(self, code: str, entry_point: str) -> None:
        """Have the code run, to its end. Raises as a call does."""
        self._ask({"code": code, "entry_point": entry_point})

    def end(self) -> None:
        """Leave nothing of its process."""
        if not self._ended:
            # The clock may have rung between its end and the note of it.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._contestant.process, signal.SIGKILL)
                os.wait4(self._contestant.process, 0)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """What the function returns. Raises ProgramError for what it raises, Ended where the program is no more."""
        try:
            request = {"arguments": encode(arguments), "keywords": encode(keywords)}
        except TypeError as error:
            raise Ended("sandbox_failure", f"the checks give the program what cannot be sent: {error}") from None
        return self._ask(request)

    def _ask(self, request: Any) -> Any:
        try:
            send(self._contestant.requests, request)
        except BrokenPipeError:
            raise self._epitaph() from None
        reply = self._reply()
        try:
            message = json.loads(reply)
            error = message.get("error")
            answer = decode(message.get("value")) if error is None else ProgramError(error, message["message"])
        except Exception as problem:  # the program may write anything, and needs no help of ours to do it
            raise Ended("failed", "its answer cannot be read") from problem
        if isinstance(answer, ProgramError):
            raise answer
        return answer

    def _reply(self) -> bytes:
        """The next frame, with what the program prints meanwhile counted and thrown away."""
        while True:
            if len(self._read) >= struct.calcsize("=I"):
                end = struct.calcsize("=I") + struct.unpack_from("=I", self._read)[0]
                if end > _LARGEST_REPLY:
                    raise Ended("output", f"returned more than {_LARGEST_REPLY} bytes")
                if len(self._read) >= end:
                    reply = bytes(self._read[struct.calcsize("=I") : end])
                    del self._read[:end]
                    return reply
            for descriptor, _ in self._poll.poll():
                self._take(descriptor, os.read(descriptor, _CHUNK))

    def _take(self, descriptor: int, chunk: bytes) -> None:
        if descriptor == self._contestant.replies:
            if not chunk:
                raise self._epitaph()
            self._read += chunk
        elif not chunk:
            self._poll.unregister(descriptor)
        else:
            self._written += len(chunk)
            if self._written > self._allowance.output_bytes:
                raise Ended("output", f"printed more than {self._allowance.output_bytes} bytes")

    def _epitaph(self) -> Ended:
        """How the process ended, which has stopped talking."""
        _, status, used = os.wait4(self._contestant.process, 0)
        self._ended = True
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return Ended("failed", f"ended with exit code {code}")
        # A program may ignore SIGXCPU; then SIGKILL comes a second later.
        deaf = code == -signal.SIGKILL and used.ru_utime + used.ru_stime > self._allowance.cpu_seconds
        if code == -signal.SIGXCPU or deaf:
            return Ended("timeout", f"took more than {self._allowance.cpu_seconds} s of CPU time")
        if code == -signal.SIGKILL:
            return Ended("memory", "was killed by the kernel")
        return Ended("crashed", f"was killed by {signal.Signals(-code).name}")
