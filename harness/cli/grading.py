"""`harness sheet` and `harness score`: answers on their way to people who grade them, and scores that come back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataRootOption


def sheet(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the sheets go.")] = Path("grading"),
    data_root: DataRootOption = None,
) -> None:
    """Write sheets of the answers that people have yet to grade: a CSV, and a page that draws formulas."""
    from harness.errors import UserError
    from harness.grading.sheet import write_sheet
    from harness.grading.ungraded import ungraded

    found = ungraded(runs, data_root)
    if not found:
        raise UserError(f"nothing in {', '.join(map(str, runs))} is graded by people", "hungarian_exam is")
    for benchmark, answers in found.items():
        if not answers:
            typer.echo(f"{benchmark}: every answer is graded")
            continue
        table, page = write_sheet(to, benchmark, answers)
        typer.echo(f"{benchmark}: {len(answers)} answers to grade, in {page} or in {table}")
        typer.echo(f"then run again with --set {benchmark}.grades=FILE")


def score(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="PLUGIN or PLUGIN:BENCHMARK.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Graded answers or published annotations of one model.")],
    data_root: DataRootOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a benchmark's numbers of scores that a file brings: a graded exam, annotations of alpaca_eval."""
    import json

    from rich.console import Console
    from rich.table import Table

    from harness.grading.given import find, score_file

    evaluator = find(benchmark)
    result = score_file(evaluator, file, data_root)
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    shown = "none" if result["score"] is None else f"{evaluator.out_of * result['score']:.4g} of {evaluator.out_of:g}"
    typer.echo(f"{evaluator.name}, {evaluator.protocol}: {shown}")
    typer.echo(f"{result['n_scored']} of {result['n_expected']} items scored")
    table = Table(box=None, show_header=False)
    for name, metric in result["metrics"].items():
        table.add_row(name, str(metric["value"]), f"n {metric['n']}")
    Console().print(table)
