"""Where samples lie: the evaluations of a run folder or of a published row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.board.chain import LEDGER
from harness.board.folders import refuse_published
from harness.board.ledger import row_beginning
from harness.board.publish import samples_path
from harness.board.samples import samples_file
from harness.discovery import suggestion
from harness.errors import UserError
from harness.jobs import ASKED
from harness.runfolder import PLAN_FILE
from harness.store import SHORT, Store

RUNS = Path("runs")
"""Where a run is looked for by its name."""
LEADERBOARDS = Path("leaderboards")
"""Where published rows are looked for by the beginning of their ids."""

_ROW = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Evaluation:
    """One seed of an arm on one benchmark: what its samples mean, and where they lie."""

    run: str
    arm: str
    seed: int
    task: str
    """The benchmark's name."""
    protocol: str
    score: str
    """Which of a sample's scores is the benchmark's number."""
    higher_is_better: bool
    samples: Path | None
    """None while they are not scored."""
    asked: Path | None = None
    """What was asked; None where that was not kept, or is no longer there."""

    def __str__(self) -> str:
        return f"{self.task}, {self.arm}, seed {self.seed}"


def evaluations(run: str | Path, store: Path, leaderboards: Path = LEADERBOARDS) -> tuple[Evaluation, ...]:
    """Those of a run folder, of a run by its name in `runs/`, or of a published row by the beginning of its id.

    Raises UserError where there is no such run.
    """
    name = str(run)
    for folder in (Path(run), RUNS / run):
        if (folder / PLAN_FILE).is_file():
            if found := tuple(_of_run(folder, Store(store))):
                return found
            raise UserError(f"nothing of {name} is scored", "its benchmarks wait for a judge or for grades")
    refuse_published(Path(run), f"name a row of it, with --board {run}; harness board show {run} lists them")
    if _ROW.fullmatch(name):
        return tuple(_of_row(name, leaderboards))
    runs = [path.parent.name for path in RUNS.glob(f"*/{PLAN_FILE}")]
    wanted = "give a run folder, or the beginning of a published row's id"
    raise UserError(f"{name} is no run", suggestion(name, runs) if runs else wanted)


def chosen(
    found: Sequence[Evaluation], *, tasks: Sequence[str] = (), arms: Sequence[str] = (), seeds: Sequence[int] = ()
) -> tuple[Evaluation, ...]:
    """Those of these benchmarks, arms and seeds, of all where none are named. Raises UserError for an unknown one."""
    _refuse_unknown("task", tasks, [one.task for one in found])
    _refuse_unknown("arm", arms, [one.arm for one in found])
    _refuse_unknown("seed", [str(seed) for seed in seeds], [str(one.seed) for one in found])
    return tuple(
        one
        for one in found
        if (not tasks or one.task in tasks) and (not arms or one.arm in arms) and (not seeds or one.seed in seeds)
    )


def side(
    text: str, found: Sequence[Evaluation], store: Path, leaderboards: Path = LEADERBOARDS
) -> tuple[Evaluation, ...]:
    """One side of a comparison: an arm among those found, another run of one arm, or `RUN:ARM`.

    Raises UserError for text that is none of these.
    """
    arms = list(dict.fromkeys(one.arm for one in found))
    if text in arms:
        return chosen(found, arms=[text])
    run, _, arm = text.rpartition(":")
    if run:
        return chosen(evaluations(run, store, leaderboards), arms=[arm])
    try:
        others = evaluations(text, store, leaderboards)
    except UserError:
        raise UserError(f"{text!r} is neither an arm of this run nor another run", suggestion(text, arms)) from None
    theirs = sorted({one.arm for one in others})
    if len(theirs) > 1:
        raise UserError(f"the run {text} has {len(theirs)} arms", f"name one: {text}:{theirs[0]}")
    return others


def _refuse_unknown(what: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"the run has no {what} {name!r}", suggestion(name, tuple(dict.fromkeys(known))))


def _of_run(folder: Path, store: Store) -> Iterator[Evaluation]:
    plan: Mapping[str, Any] = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    if "benchmarks" not in plan:
        raise UserError(f"{folder / PLAN_FILE} is of an older version", "the same harness run writes it anew")
    for arm in plan["arms"]:
        for seed in arm["seeds"]:
            for name, keys in seed["evaluations"].items():
                asked = store.folder(keys["respond"]) / ASKED
                yield Evaluation(
                    folder.resolve().name,
                    arm["id"],
                    seed["seed"],
                    name,
                    **plan["benchmarks"][name],
                    samples=_first(
                        # The store has them as soon as they are scored, the run folder for as long as it is kept.
                        store.folder(keys["evaluate"]) / "samples.jsonl",
                        samples_path(folder, arm["id"], name, seed["seed"]),
                    ),
                    asked=_first(asked),
                )


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _of_row(prefix: str, leaderboards: Path) -> Iterator[Evaluation]:
    if not (leaderboards / LEDGER).is_file():
        raise UserError(
            f"{prefix} is no run, and {leaderboards} no published leaderboard with a row that begins so",
            "give a run folder, or the leaderboard with --board DIR",
        )
    row = row_beginning(prefix, leaderboards)
    for name, task in row.result.tasks.items():
        for part in task.seeds:
            yield Evaluation(
                row.id[:SHORT],
                row.result.arm,
                part.seed,
                name,
                protocol=task.protocol,
                score=task.score_name,
                higher_is_better=task.higher_is_better,
                samples=samples_file(leaderboards, part.samples_sha256),
            )
