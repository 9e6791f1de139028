"""Starting the processes of a training stage through a launcher, and turning what becomes of them into one outcome.

The worker that holds the job stays its supervisor: it starts the launcher, reads what the ranks write into
`<job>/ranks/`, and commits the job or says which rank failed and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.canonical import canonical
from harness.context import Context, Progress
from harness.data.resolve import Places
from harness.errors import Failure, HarnessError, UserError
from harness.execution import Execution
from harness.jobs import Job

ORDER = "launch.json"
RANKS = "ranks"

_POLL_SECONDS = 0.2


def launch(job: Job, places: Places, context: Context) -> Mapping[str, Any]:
    """Train the job's stage in `context.execution.world_size` processes; the outcome is that of rank 0.

    Raises what the first failing rank raised, or a Failure naming the rank that died.
    """
    ranks = context.folder / RANKS
    ranks.mkdir(parents=True, exist_ok=True)
    for old in ranks.iterdir():
        old.unlink()
    order = context.folder / ORDER
    order.write_text(
        canonical(
            {
                "job": asdict(job),
                "places": {name: str(place) if place else None for name, place in asdict(places).items()},
                "parents": {role: str(folder) for role, folder in context.parents.items()},
                "runtime": dict(context.runtime),
                "world_size": context.execution.world_size,
            }
        )
    )
    log = ranks / "launcher.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command(context.execution, order), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    outcome: Mapping[str, Any] | None = None
    try:
        while outcome is None:
            ended = process.poll()
            for event in _events(ranks):
                if event["event"] == "progress":
                    context.progress(Progress(**{name: value for name, value in event.items() if name != "event"}))
                elif event["event"] == "notice":
                    context.notice(event["text"])
                elif event["event"] == "failed":
                    raise _failure(event)
                elif event["event"] == "done":
                    outcome = event["outcome"]
            if outcome is None and ended is not None:
                raise Failure(f"{job.label}: the launcher ended with exit code {ended}", f"its output is in {log}")
            time.sleep(_POLL_SECONDS)
        process.wait()
    finally:
        process.kill()
    return outcome


def command(execution: Execution, order: Path) -> list[str]:
    """The launcher's command line."""
    if execution.launcher == "torchrun":
        return [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", str(execution.processes)),
            *("-m", "harness.rank", str(order)),
        ]
    raise UserError(f"the launcher {execution.launcher!r} is not known", "use torchrun")


def _events(ranks: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(ranks.glob("*.jsonl")):
        yield from map(json.loads, path.read_text().splitlines())


def _failure(event: Mapping[str, Any]) -> HarnessError:
    kind = UserError if event["exit_code"] == UserError.exit_code else Failure
    return kind(event["problem"], event["remedy"])
