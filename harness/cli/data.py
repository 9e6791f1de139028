"""`harness data`: which datasets there are, and what of an example will be scored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Datasets: which there are, and what of each example is scored.", no_args_is_help=True)


@app.command("list")
def list_sources() -> None:
    """Datasets that installed plug-ins offer: licence, and where each is found."""
    from rich.console import Console

    from harness.data.show import listing, offered

    Console().print(listing(offered(), _data_root()))


@app.command("show")
def show(
    source: Annotated[str, typer.Argument(help="A plug-in's dataset, a file, or org/name[@revision][:file].")],
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


@app.command("batch")
def show_batch(
    folder: Annotated[
        Path, typer.Argument(help="The folder that the error of the training names.", show_default=False)
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="Examples to print.")] = 10,
) -> None:
    """Print the batch that ended a training: what happened, and its examples with each token's part in colour."""
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


def _data_root() -> Path | None:
    root = os.environ.get("HARNESS_DATA_ROOT")
    return Path(root) if root else None
