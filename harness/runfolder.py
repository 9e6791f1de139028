"""A run's output folder: the plan when the run begins, rows and leaderboard when it has ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.errors import UserError
from harness.files import explained, write_whole
from harness.plan import Plan
from harness.store import Store

PLAN_FILE = "plan.json"
LEADERBOARD = "leaderboard.json"


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
            for old in (folder / "rows", folder / "samples"):
                shutil.rmtree(old, ignore_errors=True)
            for old in (folder / LEADERBOARD, folder / "index.html"):
                old.unlink(missing_ok=True)
            write_whole(file, text)
    store.record_run(folder, plan.jobs)


def write_result(plan: Plan, store: Store, folder: Path, *, command: str, accepted_source: bool) -> None:
    """Write rows, samples, leaderboard and page into the run folder, from the store alone."""
    from harness.board.publish import write_run
    from harness.results import arm_runs, run_info

    with explained(folder, "--out"):
        write_run(folder, arm_runs(plan, store), run_info(plan, store, command, accepted_source=accepted_source))
