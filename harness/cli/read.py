"""`harness show`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DEFAULT_STORE, LEADERBOARDS, BoardOption, StoreOption


def show(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run folder, its name in runs/, or the beginning of a published row's id."
        ),
    ],
    tasks: Annotated[list[str] | None, typer.Option("--task", metavar="TASK", help="A benchmark; repeatable.")] = None,
    arms: Annotated[list[str] | None, typer.Option("--arm", metavar="ARM", help="An arm; repeatable.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="A seed; repeatable.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="An item; repeatable.")] = None,
    *,
    wrong: Annotated[bool, typer.Option("--wrong", help="Those that score less than half.")] = False,
    worse_than: Annotated[float | None, typer.Option(metavar="SCORE", help="Those that score worse than this.")] = None,
    outcomes: Annotated[
        list[str] | None, typer.Option("--outcome", metavar="OUTCOME", help="Those that ended so: unparsed, ...")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Those on which two differ: arms, other runs, or RUN:ARM."),
    ] = None,
    by: Annotated[float, typer.Option(min=0, metavar="X", help="With --diff: scores that differ by more.")] = 0.0,
    full: Annotated[bool, typer.Option("--full", help="Show all of long prompts.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write them to a .parquet, .csv or .jsonl file instead.")
    ] = None,
    board: BoardOption = LEADERBOARDS,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Read samples: prompt, answer, scores, the judge's words. Without options, count them."""
    from harness.cli.samples import Wanted, show_difference, show_samples
    from harness.reading.samples import HALF, Selection

    bound = worse_than if worse_than is not None else HALF if wrong else None
    wanted = Wanted(
        run,
        store,
        board,
        Selection(bound, tuple(outcomes or ()), tuple(ids or ())),
        tasks=tuple(tasks or ()),
        arms=tuple(arms or ()),
        seeds=tuple(seeds or ()),
        limit=limit,
        full=full,
        export=export,
    )
    if diff is None:
        show_samples(wanted)
    else:
        show_difference(wanted, diff, by=by)
