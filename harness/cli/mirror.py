"""What filling and checking the mirror print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from harness.cli.console import console
from harness.data.mirror import LOCK, faults, mirrored, read_lock
from harness.data.needs import needed
from harness.data.pull import Pulled, pull
from harness.errors import Failure, HarnessError, UserError
from harness.files import size_words
from harness.store import SHORT

BY_HAND = "by hand"


def fill_mirror(names: Sequence[str], root: Path, *, update: bool, replace: bool) -> None:
    """Pull what the names need, and say what came. Raises Failure where something did not."""
    wanted = {name: needed(name) for name in names}
    for name, hubs in wanted.items():
        if not hubs:
            typer.echo(f"{name} needs nothing of the hub")
    done = list(pull([hub for hubs in wanted.values() for hub in hubs], root, update=update, replace=replace))
    if not done:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("dataset", "files", "size", "licence", "revision", "state"):
        right = column in {"files", "size"}
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for hub_id in dict.fromkeys(one.hub.id for one in done):
        table.add_row(*map(Text, _cells(hub_id, [one for one in done if one.hub.id == hub_id])))
    console().print(table)
    if any(one.by_hand for one in done):
        typer.echo(f"{BY_HAND}: the lock does not know these files; --update compares them with the hub's")
    if any(one.pins for one in done):
        typer.echo(f"{sum(one.came for one in done)} files came; {root / LOCK} says what each must be")
    _refuse([error for one in done for error in one.errors], f"{root} does not hold all of it")


def check_mirror(names: Sequence[str], root: Path) -> None:
    """Compare files with the lock: those that the names need, or all. Raises Failure where one is another."""
    hubs = [hub for name in names for hub in needed(name)]
    ids = {hub.id for hub in hubs}
    pins = [pin for pin in read_lock(root).files if not names or pin.hub in ids]
    found = faults(pins, root)
    for hub_id in sorted(ids - {pin.hub for pin in pins}):
        if all(mirrored(hub, root) for hub in hubs if hub.id == hub_id):
            typer.echo(f"{hub_id} was put there by hand; the lock does not know its files")
        else:
            found.append(UserError(f"{hub_id} is not in the mirror", "harness data pull fetches it"))
    if (root / LOCK).is_file():
        typer.echo(f"compared {len(pins)} files with {root / LOCK}")
    else:
        typer.echo(f"{root} has no {LOCK}: nothing in it was pulled, and nothing can be compared")
    _refuse(found, f"{root} is not what was pulled")


def _cells(hub_id: str, parts: Sequence[Pulled]) -> tuple[str, ...]:
    """A line of the table, of all that was wanted of one dataset."""
    pins = {pin.path: pin for one in parts for pin in one.pins}.values()
    paths = {path for one in parts for path in one.by_hand}
    sizes = [*(pin.size or 0 for pin in pins), *(path.stat().st_size for path in paths)]
    came, lost = sum(one.came for one in parts), sum(len(one.errors) for one in parts)
    states = [f"{came} came" if came else "", BY_HAND if paths else "", f"{lost} not to be had" if lost else ""]
    return (
        hub_id,
        str(len(sizes)),
        size_words(sum(sizes)),
        ", ".join({pin.licence or "-": None for pin in pins}) or "-",
        ", ".join({pin.revision[:SHORT]: None for pin in pins}) or "-",
        ", ".join(filter(None, states)) or "held",
    )


def _refuse(errors: Iterable[HarnessError], problem: str) -> None:
    lines = dict.fromkeys(" ".join(str(error).split()) for error in errors)
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        count = "1 thing" if len(lines) == 1 else f"{len(lines)} things"
        raise Failure(f"{problem}: {count} wanting", "the lines above name them")
