"""`harness board publish`: the published board to where others see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.visible import in_one_line


def publish(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="hf://datasets/OWNER/NAME, or a folder of a git clone.", show_default=False
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The published leaderboard's folder.")] = Path(
        "leaderboards"
    ),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added and changed, and stop.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Push the git clone's branch too.")] = False,
    message: Annotated[str | None, typer.Option(help="The commit's message.", metavar="TEXT")] = None,
) -> None:
    """Send a published board to the hub or a git folder. One commit; to a dataset repository, with HF_TOKEN."""
    from harness.board.outlet.hub import PREFIX
    from harness.board.outlet.send import prepared

    if push and target.startswith(PREFIX):
        raise UserError(f"{target} is no git folder, and a commit on the hub needs no push", "leave --push away")
    with prepared(folder, target) as delivery:
        name = delivery.outlet.name
        if dry_run:
            for line in delivery.changes.lines():
                typer.echo(in_one_line(line))
            typer.echo(f"{name}: {delivery.changes.counts() or 'nothing to change'}; nothing was sent", err=True)
            return
        if delivery.changes:
            commit = delivery.send(message)
            typer.echo(f"{name}: {delivery.changes.counts()}, commit {commit[:12]}")
        else:
            typer.echo(f"{name} is up to date")
        if push:
            delivery.outlet.push()
            typer.echo(f"{name}: pushed")
