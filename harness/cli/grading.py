"""`harness sheet` and `harness score`: answers on their way to people who grade them, and scores that come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_STORE, DataRootOption, ScoringSetOption, StoreOption

if TYPE_CHECKING:
    from harness.api import Evaluator
    from harness.canonical import Json


def sheet(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the sheets go.")] = Path("grading"),
    data_root: DataRootOption = None,
) -> None:
    """Write sheets of the answers that people have yet to grade. A CSV, and a page that draws formulas."""
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
    *,
    settings: ScoringSetOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write the scored samples, one JSON line each.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score the answers in a file. As the file grades or annotates them; with --set judge.model=NAME, by that judge."""
    import json
    from contextlib import nullcontext

    from harness.canonical import canonical
    from harness.context import Context
    from harness.evaluate.tools import Tools
    from harness.files import explained, write_whole
    from harness.grading.given import find, score_file
    from harness.judge.settings import Judging
    from harness.recipe import load
    from harness.settings import Setting

    recipe = load(None, [Setting(None, ("benchmarks",), [benchmark]), *map(Setting.parse, settings or [])])
    evaluator = find(recipe)
    context = Context(Path(), {}, {"store": store}, lambda _: None, notice=_tell, label=evaluator.name)
    judging = recipe.judge if isinstance(recipe.judge, Judging) else None
    with Tools(judging, context) if judging else nullcontext() as judge:
        scored = score_file(evaluator, file, data_root, judge)
        if judge:
            judge.taken()
    if to:
        with explained(to, "--to"):
            write_whole(to, "".join(canonical(sample.line()) + "\n" for sample in scored.samples))
    if as_json:
        typer.echo(json.dumps(scored.result, indent=1))
    else:
        _show(evaluator, scored.result)


def _show(evaluator: Evaluator, result: Json) -> None:
    from rich.table import Table

    from harness.cli.console import console

    shown = "none" if result["score"] is None else f"{evaluator.out_of * result['score']:.4g} of {evaluator.out_of:g}"
    typer.echo(f"{evaluator.name}, {evaluator.protocol}: {shown}")
    missing = "".join(f", {n} {outcome}" for outcome, n in result["outcomes"].items() if outcome != "ok")
    typer.echo(f"{result['n_scored']} of {result['n_expected']} items scored{missing}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, metric in result["metrics"].items():
        table.add_row(name, str(metric["value"]), f"n {metric['n']}")
    console().print(table)


def _tell(line: str) -> None:
    typer.echo(line, err=True)
