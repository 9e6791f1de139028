"""A process that confines itself, divides into program and referee, and says how the program did.

`python -c ... SETTINGS` with the job on standard input. On standard output comes one line when the walls stand, and
one with the verdict; or one that says what is broken.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from harness.sandbox.inside import confine, seccomp
from harness.sandbox.inside.lent import Lent
from harness.sandbox.inside.program import answer
from harness.sandbox.inside.referee import Allowance, Contestant, judge

_NOT_CONFINED = 70


def main() -> None:
    """Do one job."""
    settings = json.loads(sys.argv[1])
    allowance = Allowance(**settings["allowance"])
    try:
        contestant = _divide(settings, allowance)
    except OSError as error:
        _say({"broken": str(error.args[-1])})
        return
    _say({"ready": True})
    # Only now, when the program's process has split off, is there anything to read that it must not know.
    job = json.load(sys.stdin)
    outcome, detail = judge(job, contestant, allowance)
    _say({"sentinel": job["sentinel"], "outcome": outcome, "detail": detail})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _divide(settings: dict[str, Any], allowance: Allowance) -> Contestant:
    """Put up the walls and split off the program's process. Raises OSError where a wall does not stand."""
    sys.meta_path.append(Lent(settings["lent"]))
    confine.be_killed_first()
    confine.limit_resources(settings["memory_bytes"])
    if settings["walls"] is not None:
        confine.put_up(confine.Walls(**settings["walls"]))
    if settings["parent"] is not None:
        confine.die_with(settings["parent"])
    contestant = _split_off(allowance, filtered=settings["walls"] is not None)
    if settings["walls"] is not None:
        seccomp.install(child=contestant.process)
    return contestant


def _split_off(allowance: Allowance, *, filtered: bool) -> Contestant:
    referee = os.getpid()
    requests, ask = os.pipe()
    hear, replies = os.pipe()
    look, output = os.pipe()
    process = os.fork()
    if process:
        for theirs in (requests, replies, output):
            os.close(theirs)
        return Contestant(process, ask, hear, look)
    try:
        confine.die_with(referee)
        nothing, end = os.pipe()
        os.close(end)
        for ours, standard in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(ours, standard)
        confine.keep_open((requests, replies))
        confine.limit_program(allowance.cpu_seconds)
        if filtered:
            seccomp.install()
        answer(requests, replies)
    finally:
        os._exit(_NOT_CONFINED)
