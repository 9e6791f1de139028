"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import board, compare, data, grading, judge, merging, read, report
from harness.cli import store as store_commands
from harness.cli.options import (
    DEFAULT_STORE,
    RUNS,
    AcceptSourceOption,
    BaselineOption,
    DataRootOption,
    DetachOption,
    EngineOption,
    EvaluationSetOption,
    Executor,
    ExecutorOption,
    FactorialOption,
    GpusOption,
    LimitOption,
    ModelsArgument,
    NoJudgeOption,
    OutOption,
    PluginsOption,
    RecipeArgument,
    RestartStageOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SuiteOption,
    SweepOption,
    UnsafeCodeOption,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from harness import __version__

        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from; before or behind COMMAND.")
    ] = False,
) -> None:
    """Compare instruction-tuning methods fairly: methods are plug-ins, results a leaderboard that can be checked."""


@app.command()
def run(
    recipe: RecipeArgument = None,
    plugins: PluginsOption = None,
    settings: SetOption = None,
    sweeps: SweepOption = None,
    *,
    factorial: FactorialOption = False,
    baseline: BaselineOption = True,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = None,
    data_root: DataRootOption = None,
    gpus_per_job: GpusOption = None,
    no_judge: NoJudgeOption = False,
    unsafe_code: UnsafeCodeOption = False,
    restart_stage: RestartStageOption = False,
    accept_source: AcceptSourceOption = False,
    executor: ExecutorOption = Executor.local,
    detach: DetachOption = False,
) -> None:
    """Train, evaluate and compare. The same again goes on, or shows the result again."""
    from harness.cli.running import Comparison, Way, carry_out, places_of, plan_of

    shorthands = {
        f"runtime.gpus_per_job={gpus_per_job}": gpus_per_job is not None,
        "runtime.restart_stage=true": restart_stage,
        "runtime.unsafe_code=true": unsafe_code,
        "judge=later": no_judge,
    }
    settings = [*(settings or []), *(setting for setting, wanted in shorthands.items() if wanted)]
    where = places_of(store, data_root)
    asked = Comparison(recipe, plugins or [], settings, sweeps or [], factorial, baseline, seeds)
    planned = plan_of(asked, where)
    carry_out(planned, Way(store, where, out, executor, detach=detach, accept_source=accept_source))


@app.command("eval")
def evaluate(
    models: ModelsArgument = None,
    suite: SuiteOption = None,
    settings: EvaluationSetOption = None,
    *,
    engine: EngineOption = None,
    limit: LimitOption = None,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = None,
    data_root: DataRootOption = None,
    gpus_per_job: GpusOption = None,
    no_judge: NoJudgeOption = False,
    unsafe_code: UnsafeCodeOption = False,
    accept_source: AcceptSourceOption = False,
    executor: ExecutorOption = Executor.local,
    detach: DetachOption = False,
) -> None:
    """Ask models a suite's benchmarks, without training. The first is what the others are compared with."""
    from harness.cli.running import Way, carry_out, evaluation_of, places_of

    shorthands = {
        f"engine.name={engine}": engine is not None,
        f"limit={limit}": limit is not None,
        f"runtime.gpus_per_job={gpus_per_job}": gpus_per_job is not None,
        "runtime.unsafe_code=true": unsafe_code,
        "judge=later": no_judge,
    }
    settings = [*(settings or []), *(setting for setting, wanted in shorthands.items() if wanted)]
    where = places_of(store, data_root)
    planned = evaluation_of(models or [], suite, settings, seeds=seeds, places=where)
    carry_out(planned, Way(store, where, out, executor, detach=detach, accept_source=accept_source))


@app.command()
def node(
    rank: Annotated[int, typer.Argument(metavar="RANK", min=1, help="This node's number, from 1; 0 runs harness run.")],
    store: StoreOption = DEFAULT_STORE,
    *,
    once: Annotated[bool, typer.Option("--once", help="End after one stage.")] = False,
    idle: Annotated[
        float | None, typer.Option("--idle", metavar="SECONDS", min=0, help="End after so long without a stage.")
    ] = None,
) -> None:
    """Take part in stages that a run launches on several nodes. It does so over a shared store, until stopped."""
    from harness.errors import Failure
    from harness.launch.node import serve

    if not serve(store, rank, lambda text: typer.echo(text, err=True), once=once, idle=idle):
        raise Failure("the last stage failed", "the first node says why")


@app.command()
def plan(
    recipe: RecipeArgument = None,
    plugins: PluginsOption = None,
    settings: SetOption = None,
    sweeps: SweepOption = None,
    *,
    factorial: FactorialOption = False,
    baseline: BaselineOption = True,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """Show what a run would do and need. Stages, keys, what is cached, tokens, memory, time, how the arms differ."""
    from harness.cli.plantext import show_plan
    from harness.cli.running import Comparison, places_of, plan_of
    from harness.estimate.plan import estimate
    from harness.store import Store

    where, kept = places_of(store, data_root), Store(store)
    asked = Comparison(recipe, plugins or [], settings or [], sweeps or [], factorial, baseline, seeds)
    planned = plan_of(asked, where)
    needs = estimate(planned, kept, where)
    if as_json:
        import json

        from harness.visible import printable_json

        typer.echo(printable_json(json.dumps({**planned.to_json(), "estimate": needs.to_json()}, indent=1)))
    else:
        show_plan(planned, kept, needs, brief=False)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, or the folder that holds them.")] = RUNS,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show how far the runs are: finished, unfinished and missing jobs."""
    from harness.cli.show import show_status
    from harness.store import Store

    show_status(folder, Store(store))


@app.command()
def plugins(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One plug-in, with its options.")] = None,
    *,
    table: Annotated[bool, typer.Option("--table", help="Print the page of all methods, in Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed plug-ins. Of one of them, benchmarks and options too."""
    from harness.cli.methods import methods_page
    from harness.cli.show import show_plugins
    from harness.discovery import installed, load_plugin

    if table:
        typer.echo(methods_page([load_plugin(one) for one in ([name] if name else installed())]), nl=False)
    else:
        show_plugins(name, as_json=as_json)


@app.command()
def suites(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One suite, shipped or in a file, with its benchmarks.")
    ] = None,
    *,
    data_root: DataRootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the suites. Of one of them, benchmarks, protocols, needs, and whether its data is in the mirror."""
    from harness.cli.suites import show_suites

    show_suites(name, data_root, as_json=as_json)


@app.command()
def doctor() -> None:
    """Say what this machine can run, and how to mend what is missing."""
    from harness.cli.doctor import show_doctor

    show_doctor()


app.command("merge")(merging.merge)
app.command("sheet")(grading.sheet)
app.command("score")(grading.score)
app.command("show")(read.show)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.add_typer(data.app, name="data", help="Look at datasets: what there is, and what of it will be scored.")
app.add_typer(store_commands.app, name="store", help="Look at finished jobs, and clear them away.")
app.add_typer(board.app, name="board", help="Look at leaderboards, check them and publish rows.")
app.add_typer(judge.app, name="judge", help="See how far a judge agrees with people, and what it has cost.")
