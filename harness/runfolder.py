"""A run's output folder: the plan when the run begins, rows and leaderboard when it has ended."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.context import Progress
from harness.errors import UserError
from harness.files import explained, file_name, write_whole
from harness.jobs import Job
from harness.plan import Plan
from harness.run import Reporter
from harness.store import Store

PLAN_FILE = "plan.json"
LEADERBOARD = "leaderboard.json"
CURVES = "curves"
"""Of the run folder: arms, stages and seeds by name. Of a job's folder: what its tracker wrote."""


def open_run_folder(plan: Plan, store: Store, folder: Path) -> None:
    """Leave the plan in the run folder, so that `status` can follow it; another plan's results make room.

    The store learns what the run stands on, so that `gc` spares it from now on.
    """
    text = json.dumps(plan.to_json(), indent=1, ensure_ascii=False) + "\n"
    file = folder / PLAN_FILE
    with explained(folder, "--out"):
        if not file.is_file() and folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(f"{folder} holds files and no run", "give a new folder with --out")
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            for old in (folder / "rows", folder / "samples", folder / "page", folder / CURVES):
                shutil.rmtree(old, ignore_errors=True)
            for old in (folder / LEADERBOARD, folder / "index.html"):
                old.unlink(missing_ok=True)
            write_whole(file, text)
        link_curves(plan, store, folder)
    store.record_run(folder, plan.jobs)


def link_curves(plan: Plan, store: Store, folder: Path) -> None:
    """`curves/ARM/STAGE/seed-N` leads to the curves of that stage, wherever its job lies now."""
    for link, key in _curves(plan, folder):
        place = (store.folder(key) if store.has(key) else store.root / "partial" / key) / CURVES
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(place.absolute(), link.parent.resolve())
        if not link.is_symlink() or link.readlink() != Path(target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _curves(plan: Plan, folder: Path) -> Iterator[tuple[Path, str]]:
    for arm in plan.arms:
        for seed in arm.seeds:
            for stage in seed.stages:
                names = (file_name(name) for name in (arm.id, stage.name))
                yield folder.joinpath(CURVES, *names, f"seed-{seed.seed}"), stage.key


@dataclass(frozen=True)
class Linked:
    """A reporter that keeps the links to the curves up while jobs move from work in progress to the finished ones."""

    reporter: Reporter
    plan: Plan
    store: Store
    folder: Path

    def started(self, job: Job, *, resumed: bool) -> None:
        """As the reporter within."""
        self.reporter.started(job, resumed=resumed)

    def progressed(self, job: Job, progress: Progress) -> None:
        """As the reporter within."""
        self.reporter.progressed(job, progress)

    def noticed(self, job: Job, text: str) -> None:
        """As the reporter within."""
        self.reporter.noticed(job, text)

    def note(self, text: str) -> None:
        """As the reporter within."""
        self.reporter.note(text)

    def finished(self, job: Job, seconds: float) -> None:
        """The job's curves lie elsewhere now."""
        if job.kind == "train":
            with explained(self.folder, "--out"):
                link_curves(self.plan, self.store, self.folder)
        self.reporter.finished(job, seconds)


def write_result(plan: Plan, store: Store, folder: Path, *, command: str, accepted_source: bool) -> None:
    """Write rows, samples, leaderboard and page into the run folder, from the store alone."""
    from harness.board.publish import write_run
    from harness.results import arm_runs, run_info

    with explained(folder, "--out"):
        write_run(folder, arm_runs(plan, store), run_info(plan, store, command, accepted_source=accepted_source))
