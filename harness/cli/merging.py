"""`harness merge`: models that exist already become one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import DataRootOption
from harness.credentials import command_line

if TYPE_CHECKING:
    from harness.context import Progress


def merge(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="Folders of models, adapters or jobs, or ORG/NAME[@REVISION]."),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The merged model: a folder to be made.")],
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="PLUGIN", help="A plug-in that merges: ties, dare, slerp, ...")
    ] = "average",
    base: Annotated[
        str | None,
        typer.Option("--base", "-b", metavar="MODEL", help="What the models were trained from."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="PLUGIN.OPTION=VALUE", help="ties.density=0.2")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", metavar="SOURCE", help="For fisher and soup: once, or once for each model."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of methods that draw random numbers.")] = 0,
    data_root: DataRootOption = None,
) -> None:
    """Merge models into a new one, a shard at a time. harness plugins METHOD lists a method's options."""
    from harness.errors import UserError
    from harness.merge.card import model_card
    from harness.merge.direct import Request, Told

    if out.exists():
        raise UserError(f"{out} exists already", "name another folder with --out, or remove it")
    request = Request.of(models, base, method, _options(settings or [], method), data=data or (), seed=seed)
    card = partial(model_card, title=out.resolve().name, command=command_line(sys.argv[1:]))
    with _reporting(f"merge into {out}") as progress:
        made = request.write(out, Told(progress, card), data_root)
    typer.echo(f"{request.declared.method} of {len(made.shares)} models")
    for name, weight in made.shares.items():
        typer.echo(f"  {weight!s:>6}  {name}")
    if request.base is not None:
        typer.echo(f"    base  {request.base.name}")
    typer.echo(f"{made.parameters:,} parameters in {out}; its README.md says of what they were made")


def _options(settings: list[str], method: str) -> dict[str, Any]:
    """The method's options, by name."""
    from harness.errors import UserError
    from harness.merge.direct import load_merger
    from harness.settings import Setting

    name = load_merger(method).plugin.name
    options = {}
    for setting in map(Setting.parse, settings):
        if setting.arm is not None or setting.path[0] != name or len(setting.path) == 1:
            raise UserError(
                f"--set {'.'.join(setting.path)} is no option of {name}", f"write --set {name}.OPTION=VALUE"
            )
        options[".".join(setting.path[1:])] = setting.value
    return options


@contextmanager
def _reporting(label: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere what is printed afterwards says enough."""
    from rich.console import Console

    from harness.cli.progress import FittingBars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with FittingBars(console) as bars:
        task = bars.add_task(label, total=None, note="", left=True)
        yield lambda now: bars.update(
            task, completed=int(now.done), total=int(now.total), note=f"{now.unit}s  {now.note}"
        )
