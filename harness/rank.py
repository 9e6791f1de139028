"""One process of a launched stage: it does its part and writes what happens into `<job>/ranks/<rank>.jsonl`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.canonical import Json, canonical
from harness.context import Context, Progress
from harness.data.resolve import Places, made_sources
from harness.errors import Failure, HarnessError
from harness.jobs import Job, Train
from harness.launch import RANKS
from harness.scene import Scene

if TYPE_CHECKING:
    from typing import TextIO


def main() -> None:
    """Train this rank's part of the stage that the last argument, a `launch.json`, describes."""
    order = Path(sys.argv[-1])
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    ranks = order.parent / RANKS
    with (ranks / f"{rank}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with (ranks / f"{rank}.jsonl").open("w", buffering=1, encoding="utf-8") as out:
        try:
            outcome = _train(json.loads(order.read_text()), order.parent, rank, world, out)
        except Exception as error:
            traceback.print_exc()
            said = error if isinstance(error, HarnessError) else Failure(f"{type(error).__name__}: {error}", "")
            _say(out, event="failed", problem=said.problem, remedy=said.remedy, exit_code=said.exit_code)
            raise SystemExit(1) from error
        if rank == 0:
            _say(out, event="done", outcome=outcome)


def _train(given: Json, folder: Path, rank: int, world: int, out: TextIO) -> Json:
    from harness.train.job import train

    if world != given["world_size"]:
        raise Failure(f"the launcher started {world} processes, not {given['world_size']}", "use torchrun")
    job = Job(**given["job"])
    scene = Scene(job, Places(*(Path(p) if p else None for p in given["places"].values())))
    parents = {role: Path(path) for role, path in given["parents"].items()}

    def progress(now: Progress) -> None:
        if rank == 0:
            _say(out, event="progress", **asdict(now))

    def notice(text: str) -> None:
        if rank == 0:
            _say(out, event="notice", text=text)

    recipe = scene.recipe
    context = Context(
        folder, parents, given["runtime"], progress, recipe.train.execution(), notice, job.label, recipe.name
    )
    sources = {**scene.sources, **made_sources(parents)}
    return train(Train.model_validate(job.declared), sources, scene.loss(), context)


def _say(out: TextIO, **event: Json) -> None:
    out.write(canonical(event) + "\n")


if __name__ == "__main__":
    main()
