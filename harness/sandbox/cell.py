"""A cell: the fresh process in which one program is run and judged, as seen from outside."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.api import Execute, Execution
from harness.canonical import Json
from harness.processes import end_group, group_gives_way, how_it_ended
from harness.sandbox.tiers import Tier
from harness.sandbox.view import View

_START_SECONDS = 60.0
"""What a cell may take to put up its walls on a machine that is very busy."""
_PATIENCE = 10.0
"""Wall-clock seconds that a program may take for each second of CPU time that it may use."""
_OUTPUT_BYTES = 1 << 20
"""What a program may print; all of it is thrown away."""
_DETAIL_LENGTH = 200
_PATH = re.compile(r"(?:/[\w.+@~-]+){2,}/?")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")

# The harness's own `__init__` is left out: it takes longer than all the rest, and is not there in a container.
_BOOT = """\
import sys, types
for name in ("harness", "harness.sandbox"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[2]]
from harness.sandbox.inside.main import main
main()"""


def run(program: Execute, tier: Tier, view: View) -> Execution:
    """Run one program to its end. Raises nothing, whatever the program does."""
    # Exit code 0 says nothing: the referee says how it ended, and shows that it is the referee.
    sentinel = secrets.token_hex(16)
    job = {"code": program.code, "entry_point": program.entry_point, "checks": program.checks, "sentinel": sentinel}
    patience = program.timeout * _PATIENCE
    settings: dict[str, Json] = {
        "walls": tier.walls and {**tier.walls, "readable": view.readable},
        "lent": view.lent,
        "parent": os.getpid() if tier.direct else None,
        "memory_bytes": _bytes(program.memory_gib),
        "allowance": {
            "cpu_seconds": math.ceil(program.timeout),
            "wall_seconds": patience,
            "output_bytes": _OUTPUT_BYTES,
        },
    }
    # What -I would do, but for PYTHONHASHSEED: nothing of the user's is in the environment.
    cell = [view.python, "-s", "-P", "-S", "-c", _BOOT, json.dumps(settings), str(Path(view.inside).parent)]
    label = f"harness-{secrets.token_hex(8)}"
    command = tier.command(cell, view, _bytes(program.memory_gib), label)
    try:
        with _started(command, tier, label) as process:
            told = _hear(process, job, _START_SECONDS + patience)
    except OSError as error:
        return _not_judged(f"the cell cannot be started: {error.strerror}")
    return _execution(told, sentinel)


@dataclass(frozen=True)
class _Told:
    """What a cell said, what it wrote to standard error, and how it ended; None where it was ended from outside."""

    messages: list[dict[str, Json]]
    complaint: str
    end: str | None


@contextmanager
def _started(command: list[str], tier: Tier, label: str) -> Iterator[subprocess.Popen[str]]:
    """A cell, of which nothing is left afterwards."""
    with TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=tier.environment,
            cwd=folder,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        group_gives_way(process.pid)
        try:
            yield process
        finally:
            if process.returncode is None:
                end_group(process)
                tier.stop(label)
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                with suppress(BrokenPipeError):
                    pipe.close()


def _hear(process: subprocess.Popen[str], job: Json, seconds: float) -> _Told:
    """Give a cell the job, and hear it out."""
    try:
        said, complaint = process.communicate(json.dumps(job), timeout=seconds)
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
        return _Told(_messages(said), "", None)
    return _Told(_messages(said), complaint, how_it_ended(process.returncode))


def _messages(said: str) -> list[dict[str, Json]]:
    """The cell's lines; one that was cut off is none."""
    return [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]


def _execution(told: _Told, sentinel: str) -> Execution:
    last = told.messages[-1] if told.messages else {}
    if last.get("sentinel") == sentinel:
        return Execution(last["outcome"], _short(last["detail"]))
    if "broken" in last:
        return _not_judged(last["broken"])
    if told.end is None:
        if last.get("ready"):
            return Execution("timeout", "the checks of what it returned took too long")
        return _not_judged(f"the cell did not start within {_START_SECONDS:g} s")
    complaint = (told.complaint.strip().splitlines() or [""])[-1]
    return _not_judged(f"the cell {told.end}: {complaint}".removesuffix(": "))


def _not_judged(detail: str) -> Execution:
    return Execution("sandbox_failure", _short(detail))


def _short(detail: str) -> str:
    """One line that can be shown anywhere, and that is the same each time."""
    neutral = _ADDRESS.sub("<address>", _PATH.sub("<path>", detail))
    line = "".join(letter if letter.isprintable() else " " for letter in neutral)
    return line if len(line) <= _DETAIL_LENGTH else line[: _DETAIL_LENGTH - 1] + "…"


def _bytes(gib: float) -> int:
    return int(gib * (1 << 30))
