"""`harness judge`: how far a judge agrees with people, and what its replies have cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import DEFAULT_STORE, StoreOption
from harness.errors import UserError

app = typer.Typer(help="See how far a judge agrees with people, and what it has cost.", no_args_is_help=True)

EXAM = "hungarian_exam"

Given = Annotated[
    Path,
    typer.Argument(
        metavar="HUMAN",
        help="What people said: CSV, JSON, JSONL or Parquet, or a folder with a file for each model.",
        show_default=False,
    ),
]
Judged = Annotated[
    Path,
    typer.Argument(
        metavar="JUDGED",
        help="What the judge said, in the same form; or an evaluation's samples.",
        show_default=False,
    ),
]


@app.command()
def agreement(
    human: Given,
    judged: Judged,
    *,
    benchmark: Annotated[
        str, typer.Option(metavar="NAME", help="The plug-in whose rule makes a total of points.")
    ] = EXAM,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a judge with people. Points given for answers, or votes on which of two answers is better."""
    from harness.cli.agreement import compare_points, compare_votes
    from harness.judge.graded import are_votes

    theirs, ours = _rows(human), _rows(judged)
    if are_votes(theirs) != are_votes(ours):
        raise UserError(f"one of {human} and {judged} holds points, the other votes", "give two of a kind")
    if are_votes(theirs):
        compare_votes(theirs, ours, as_json=as_json)
    else:
        compare_points(theirs, ours, benchmark, as_json=as_json)


@app.command()
def cost(
    price_in: Annotated[
        float | None, typer.Option(min=0, metavar="DOLLARS", help="For a million tokens of prompt.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(min=0, metavar="DOLLARS", help="For a million tokens of answer.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List the judges whose replies are in the store. How many, their tokens, and what they come to at a price."""
    from harness.judge.cost import counted
    from harness.judge.judgments import FOLDER, IDENTITY, read
    from harness.judge.settings import Prices

    prices = Prices(price_in=price_in, price_out=price_out)
    folders = [path.parent for path in sorted((store / FOLDER).glob(f"*/{IDENTITY}"))]
    for folder in folders:
        who = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        spent = counted((record.reply.usage for record in read(folder)), prices)
        typer.echo(f"{who['model']} at {who['endpoint']}: {spent.words()}")
    if not folders:
        typer.echo(f"no judge's replies are in {store}")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, or of a folder's files; one that names no model gets its file's name."""
    from harness.data.formats import READERS, rows

    files = sorted(file for file in path.iterdir() if file.suffix in READERS) if path.is_dir() else [path]
    found = [{"model": file.stem, **row.values} for file in files for row in rows(str(file), file)]
    if not found:
        raise UserError(f"{path} holds no rows", f"give a file of {', '.join(READERS)}, or a folder of such")
    return found
