"""`harness report`: a comparison as a page and as figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.compare import (
    AllPairs,
    Margin,
    Names,
    RunFolder,
    compared,
    named,
)
from harness.cli.options import LEADERBOARDS, BoardOption
from harness.errors import UserError


def report(
    names: Names = None,
    run: RunFolder = None,
    board: BoardOption = LEADERBOARDS,
    margin: Margin = 1.0,
    *,
    pairs: AllPairs = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; report.html without --png and --svg.")
    ] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="The figure as PNG.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="The figure as SVG.")] = None,
) -> None:
    """Write a comparison as a page and as figures. HTML for a paper's appendix, PNG, SVG."""
    from harness.board.files import write_atomically
    from harness.board.report.content import content
    from harness.board.report.forest import drawn, forest
    from harness.board.report.page import page

    for path in filter(None, (out, png, svg)):
        if path.is_dir():
            raise UserError(f"{path} is a folder", "name a file")
    found = named("report", names, run, board)
    made = compared(found, margin, whole=len(names or []) <= 1, pairs=pairs)
    rows = [one.row for one in found]
    if out is None and png is None and svg is None:
        out = Path("report.html")
    files = {out: page(made, rows).encode()} if out else {}
    if png or svg:
        panels = [one.panel for one in content(made, rows).comparisons]
        files |= {path: drawn(forest(panels, made.margin), "png") for path in (png,) if path}
        files |= {path: drawn(forest(panels, made.margin), "svg") for path in (svg,) if path}
    for path, written in files.items():
        write_atomically(path, written)
        typer.echo(f"wrote {path}")
