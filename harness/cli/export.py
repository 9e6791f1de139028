"""`harness board export`: rows in the formats of others."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import UserError
from harness.visible import in_one_line, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.board.export.selection import HubDataset


class FormatName(StrEnum):
    """What a board can be exported to."""

    csv = "csv"
    eval_results = "eval-results"
    every_eval_ever = "every-eval-ever"
    latex = "latex"
    model_index = "model-index"


class RelationshipName(StrEnum):
    """What an evaluator is to a model, in the words of Every Eval Ever."""

    first_party = "first_party"
    third_party = "third_party"
    collaborative = "collaborative"
    other = "other"


STANDARD_OUTPUT = Path("-")
_DATASET = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<task>.+))?")


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A run's output folder, or the published one.")
    ] = Path("leaderboards"),
    *,
    to: Annotated[FormatName, typer.Option("--format", help="What to write.", show_default=False)],
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="A file, a folder where there are several, or - for the terminal.")
    ],
    rows: Annotated[
        list[str] | None, typer.Option("--row", metavar="ARM|ID", help="An arm, or the beginning of a row's id.")
    ] = None,
    organization: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who provides the numbers; every-eval-ever wants it.")
    ] = None,
    relationship: Annotated[
        RelationshipName | None, typer.Option(help="What the evaluator is to the models, for every-eval-ever.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="URL", help="Address of the board or the run.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="ARM|ID=OWNER/NAME", help="Where a row's model is on the hub."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", metavar="BENCHMARK=OWNER/NAME[@REVISION][:TASK]", help="Where its items are on the hub."
        ),
    ] = None,
) -> None:
    """Write rows in the formats of others. CSV, LaTeX, Every Eval Ever, the hub's model-index and eval-results."""
    from harness.board.export.formats import FORMATS, one_text, write_export
    from harness.board.export.selection import Told, models_told, select

    selection = select(folder, rows or [])
    told = Told(
        organization=organization,
        relationship=None if relationship is None else relationship.value,
        source=source,
        models=models_told(selection, [_named("--model", "ARM|ID=OWNER/NAME", text) for text in models or []]),
        datasets={name: _dataset(value) for name, value in _datasets(datasets or [])},
    )
    _refuse_unknown(told.datasets, sorted({name for board in selection.boards for name in board.benchmarks}))
    found = FORMATS[to.value](selection, told)
    if out == STANDARD_OUTPUT:
        typer.echo(visible_lines(one_text(found)), nl=False)
    else:
        for path in write_export(found, out):
            typer.echo(f"wrote {path}")
    for said in found.left_out:
        typer.echo(in_one_line(said), err=True)


def _datasets(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [_named("--dataset", "BENCHMARK=OWNER/NAME[@REVISION][:TASK]", text) for text in texts]


def _named(option: str, shape: str, text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`; an arm's id may hold `=` itself, a value here does not."""
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise UserError(f"{option} {text} is not {shape}", f"write {option} {shape}")
    return name, value


def _dataset(text: str) -> HubDataset:
    from harness.board.export.selection import HubDataset

    found = _DATASET.fullmatch(text)
    if found is None:
        raise UserError(f"--dataset {text} is no hub dataset", "write OWNER/NAME, with @REVISION and :TASK if need be")
    return HubDataset(**found.groupdict())


def _refuse_unknown(benchmarks: Iterable[str], known: Sequence[str]) -> None:
    for name in benchmarks:
        if name not in known:
            raise UserError(f"there is no benchmark {name!r} among the rows", f"there is {', '.join(known)}")
