"""`harness data`: which datasets there are, what of an example will be scored, and filling the mirror."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Datasets: which there are, what of each example is scored; the mirror.", no_args_is_help=True)


@app.command("list")
def list_sources() -> None:
    """List the datasets that plug-ins offer: licence and place."""
    from harness.cli.console import console
    from harness.data.show import listing, offered

    console().print(listing(offered(), _data_root()))


@app.command("show")
def show(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A plug-in's dataset, a file, or org/name[@revision][:file].")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or folder whose tokenizer renders; without it, a small one trained on the rows."),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="Examples to render.")] = 3,
    template: Annotated[str | None, typer.Option(help="Chat template: a name, a .jinja file or Jinja text.")] = None,
) -> None:
    """Print what exists, then examples with each token's part in colour."""
    from rich.console import Console
    from rich.text import Text

    from harness.data.chat import Renderer
    from harness.data.show import coloured, declared, facts, find, first, legend, rendered_with, tokenizer_for

    console, data_root = Console(), _data_root()
    dataset = find(source)
    declaration = declared(dataset, data_root)
    examples, count = first(dataset, number, data_root)
    console.print(facts(dataset, declaration, count, data_root))
    if not number:
        return
    tokenizer = tokenizer_for(model, template, examples)
    renderer = Renderer(tokenizer)
    marks = console.no_color or not console.is_terminal
    console.print()
    console.print(Text(rendered_with(model, template), style="dim"))
    console.print(legend(marks=marks))
    for example in examples[:number]:
        rendered = renderer.render(example)
        console.print(Text(f"\nexample {example.id}, {len(rendered.ids)} tokens", style="bold"))
        console.print(coloured(rendered, tokenizer, marks=marks), soft_wrap=True)


@app.command("pull")
def pull_data(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Recipes, suites, plug-ins, plugin:benchmark, or org/name[@revision][:file]."
        ),
    ] = None,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", envvar="HARNESS_DATA_ROOT", metavar="DIR", help="The mirror to fill.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Take branches at their newest commit.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite files that are not what the hub has.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare the mirror with its lock; the hub is not asked.")
    ] = False,
) -> None:
    """Fill the mirror with what these need, each file pinned. DIR/mirror.json holds the digests."""
    from harness.cli.mirror import check_mirror, fill_mirror
    from harness.errors import UserError

    if to is None:
        raise UserError("there is no mirror to fill", "name its folder: --to DIR, or HARNESS_DATA_ROOT")
    if check:
        check_mirror(names or [], to)
    elif not names:
        raise UserError(
            "nothing is named", "name a recipe, a suite, a plug-in or a hub dataset: harness data pull math"
        )
    else:
        fill_mirror(names, to, update=update, replace=replace)


@app.command("batch")
def show_batch(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that the error of the training names.", show_default=False)
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="Examples to print.")] = 10,
) -> None:
    """Print the batch that ended a training. What happened, and its examples with each token's part in colour."""
    from rich.console import Console

    from harness.cli.badbatch import explained, told
    from harness.train.badbatch import read

    console = Console()
    why, examples = read(folder)
    marks = console.no_color or not console.is_terminal
    console.print(explained(why, examples, marks=marks))
    # What is no number comes first.
    for example in sorted(examples, key=lambda one: not one["not_finite"])[:number]:
        console.print()
        console.print(told(example, marks=marks), soft_wrap=True)


@app.command("review")
def review_candidates(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Candidates: JSON, JSONL, Parquet or CSV.")
    ] = None,
    *,
    reviewer: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who reviews: decisions go to FILE.NAME.review.jsonl.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where decisions go; FILE.review.jsonl if left out.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the kept rows as JSONL, and show no page.")
    ] = None,
    merge: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Put two reviewers' decisions together into --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="With --merge: the decisions together.")] = None,
) -> None:
    """Step through candidates: keep, drop or edit each. Every decision is saved at once; run it again to go on."""
    from harness.cli.review import Review, export_kept, merge_reviews, review
    from harness.errors import UserError

    if merge is not None:
        if out is None or (file, reviewer, decisions, export) != (None,) * 4:
            raise UserError("--merge takes two files of decisions, and writes a third", "write --merge A B --out PATH")
        merge_reviews(*merge, out)
        return
    if out is not None:
        raise UserError("--out is where --merge writes", "write --merge A B --out PATH, or --export OUT")
    if file is None:
        raise UserError("no file is named", "write harness data review FILE")
    asked = Review.of(file, reviewer, decisions)
    if export is not None:
        export_kept(asked, export)
    else:
        review(asked)


def _data_root() -> Path | None:
    root = os.environ.get("HARNESS_DATA_ROOT")
    return Path(root) if root else None
