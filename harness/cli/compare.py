"""`harness compare`: its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import LEADERBOARDS, BoardOption
from harness.errors import UserError
from harness.visible import printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.board.contrasts import Contrasts
    from harness.board.rows import Row
    from harness.board.sources import Source

POINTS = 100

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="A B",
        help="Arms of --run; or a run folder with all its arms, RUN:ARM, a published row's id or arm. "
        "The first is what the others are compared with.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path | None, typer.Option("--run", metavar="DIR", help="The run folder whose arms are named.")]
Margin = Annotated[
    float, typer.Option(min=0, metavar="POINTS", help="Arms are equal (=) within so many points of 100.")
]
AllPairs = Annotated[bool, typer.Option("--all-pairs", help="Compare every two of them.")]


def compare(
    names: Names = None,
    run: RunFolder = None,
    board: BoardOption = LEADERBOARDS,
    margin: Margin = 1.0,
    *,
    pairs: AllPairs = False,
    aa: Annotated[
        bool, typer.Option("--aa", help="Measure the noise floor instead: one arm against itself, over seeds and runs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare arms with paired tests. Which differ, which are equal, and what could have been found."""
    from harness.cli.console import console
    from harness.cli.contrasttext import print_contrasts

    found = named("compare", names, run, board)
    if aa:
        _print_noise(found, as_json=as_json)
        return
    made = compared(found, margin, whole=len(names or []) <= 1, pairs=pairs)
    if as_json:
        typer.echo(printable_json(made.model_dump_json(indent=1)))
    else:
        print_contrasts(made, console())


def named(command: str, names: list[str] | None, run: Path | None, board: Path) -> list[Source]:
    """The rows that are named to the command."""
    from harness.board.sources import sources

    if not names and run is None:
        raise UserError("no arm is named", f"write harness {command} RUN, or harness {command} A B --run RUN")
    return sources(names or [], run, board)


def compared(found: Sequence[Source], margin: float, *, whole: bool, pairs: bool) -> Contrasts:
    """Every two of them, or a `whole` run's arms against their baselines, or all against the first."""
    from harness.board.contrasts import against_baseline, against_first, all_pairs, contrasts
    from harness.board.sources import scores_from

    rows = [one.row for one in found]
    chosen = all_pairs(rows) if pairs else against_baseline(rows) if whole else against_first(rows)
    return contrasts(rows, chosen, scores_from(found), margin / POINTS)


def _print_noise(found: Sequence[Source], *, as_json: bool) -> None:
    from harness.board.compare import items_of
    from harness.board.noise import noise
    from harness.board.sources import scores_from
    from harness.cli.console import console
    from harness.cli.noisetext import print_noise

    by_arm: dict[str, list[Row]] = {}
    for one in found:
        by_arm.setdefault(one.row.result.arm, []).append(one.row)
    floors = [noise(rows, items_of(rows, scores_from(found))) for rows in by_arm.values()]
    if as_json:
        typer.echo(printable_json(json.dumps([one.model_dump(mode="json") for one in floors], indent=1)))
        return
    for floor, rows in zip(floors, by_arm.values(), strict=True):
        print_noise(floor, {name: task.out_of for name, task in rows[0].result.tasks.items()}, console())
