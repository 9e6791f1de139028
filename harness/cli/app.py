"""The commands and their options."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import board, data, grading, judge, read
from harness.cli import store as store_commands
from harness.cli.options import (
    DEFAULT_STORE,
    BaselineOption,
    DataRootOption,
    Executor,
    ExecutorOption,
    FactorialOption,
    NoJudgeOption,
    OutOption,
    PluginsOption,
    RecipeArgument,
    RestartStageOption,
    SeedsOption,
    SetOption,
    StoreOption,
    UnsafeCodeOption,
)

if TYPE_CHECKING:
    from harness.data.resolve import Places
    from harness.plan import Plan

app = typer.Typer(
    help="Compare instruction-tuning methods fairly: methods are plug-ins, results a leaderboard that can be checked.",
    epilog="harness --debug COMMAND ... shows where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _places(store: Path, data_root: Path | None) -> Places:
    from harness.data.resolve import Places

    return Places(data_root, store / "cache")


def _plan(
    recipe: str | None,
    plugins: list[str] | None,
    settings: list[str] | None,
    *,
    factorial: bool,
    baseline: bool,
    seeds: str | None,
    places: Places,
) -> Plan:
    from harness.planner import build, choose_arms
    from harness.recipe import load
    from harness.settings import Setting

    parsed = [Setting.parse(text) for text in settings or []]
    if seeds is not None:
        parsed.append(Setting.seeds(seeds))
    resolved = load(recipe, parsed, plugins or [])
    arms = choose_arms(resolved, plugins or [], parsed, baseline=baseline, factorial=factorial)
    return build(resolved, arms, places)


@app.command()
def run(
    recipe: RecipeArgument = None,
    plugins: PluginsOption = None,
    settings: SetOption = None,
    *,
    factorial: FactorialOption = False,
    baseline: BaselineOption = True,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = None,
    data_root: DataRootOption = None,
    gpus_per_job: Annotated[
        int | None, typer.Option("--gpus-per-job", metavar="N", help="GPUs of each job; jobs run side by side.")
    ] = None,
    no_judge: NoJudgeOption = False,
    unsafe_code: UnsafeCodeOption = False,
    restart_stage: RestartStageOption = False,
    accept_source: Annotated[
        bool, typer.Option("--accept-source", help="Use results whose plug-in changed since. Not publishable.")
    ] = False,
    executor: ExecutorOption = Executor.local,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --executor slurm: submit the jobs, and do not wait for them.")
    ] = False,
) -> None:
    """Train, evaluate and compare; run it again to go on, or to see the result again."""
    from harness.cli.progress import reporting
    from harness.cli.show import show_plan, show_result
    from harness.errors import Refused, UserError
    from harness.estimate.plan import estimate
    from harness.preflight import problems
    from harness.run import check_sources, execute, missing
    from harness.runfolder import LEADERBOARD, Linked, open_run_folder, write_result
    from harness.store import Store

    if detach and executor is Executor.local:
        raise UserError("--detach leaves the jobs to a cluster", "add --executor slurm")
    places, kept = _places(store, data_root), Store(store)
    shorthands = {
        f"runtime.gpus_per_job={gpus_per_job}": gpus_per_job is not None,
        "runtime.restart_stage=true": restart_stage,
        "runtime.unsafe_code=true": unsafe_code,
        "judge=later": no_judge,
    }
    settings = [*(settings or []), *(setting for setting, wanted in shorthands.items() if wanted)]
    plan = _plan(recipe, plugins, settings, factorial=factorial, baseline=baseline, seeds=seeds, places=places)
    folder = out or Path("runs") / f"{plan.recipe.name}-{plan.digest[:8]}"
    if not accept_source:
        check_sources(plan, kept)
    todo = missing(plan, kept)
    needs = estimate(plan, kept, places)
    show_plan(plan, kept, needs, brief=True)
    if found := problems(plan, kept, needs, here=executor is Executor.local):
        raise Refused(found)
    open_run_folder(plan, kept, folder)
    if todo:
        with reporting(plan, len(todo)) as shown:
            reporter = Linked(shown, plan, kept, folder)
            if executor is Executor.slurm:
                from harness.slurm.follow import execute as submit_and_follow
                from harness.slurm.submit import SlurmCluster

                submit_and_follow(plan, kept, places, reporter, cluster=SlurmCluster(), detach=detach)
            else:
                execute(plan, kept, places, reporter, logs=folder / "logs")
    if detach and missing(plan, kept):
        return
    if plan.unscored:
        typer.echo("the answers are stored; the same command without --no-judge scores them")
    elif todo or accept_source or not (folder / LEADERBOARD).is_file():
        command = shlex.join(["harness", *sys.argv[1:]])
        write_result(plan, kept, folder, command=command, accepted_source=accept_source)
    if not plan.unscored:
        show_result(folder)


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
    """Take part in the stages that harness run launches from the first node, over a shared store, until stopped."""
    from harness.errors import Failure
    from harness.launch.node import serve

    if not serve(store, rank, lambda text: typer.echo(text, err=True), once=once, idle=idle):
        raise Failure("the last stage failed", "the first node says why")


@app.command()
def plan(
    recipe: RecipeArgument = None,
    plugins: PluginsOption = None,
    settings: SetOption = None,
    *,
    factorial: FactorialOption = False,
    baseline: BaselineOption = True,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """Show what a run would do and need: stages, keys, what is cached, tokens, memory, time, how the arms differ."""
    from harness.cli.show import show_plan
    from harness.estimate.plan import estimate
    from harness.store import Store

    places, kept = _places(store, data_root), Store(store)
    planned = _plan(
        recipe,
        plugins,
        settings,
        factorial=factorial,
        baseline=baseline,
        seeds=seeds,
        places=places,
    )
    needs = estimate(planned, kept, places)
    if as_json:
        import json

        typer.echo(json.dumps({**planned.to_json(), "estimate": needs.to_json()}, indent=1, ensure_ascii=False))
    else:
        show_plan(planned, kept, needs, brief=False)


@app.command()
def status(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A run folder, or the folder that holds them.")
    ] = Path("runs"),
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show how far the runs are: finished, unfinished and missing jobs."""
    from harness.cli.show import show_status
    from harness.store import Store

    show_status(folder, Store(store))


@app.command()
def plugins(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One plug-in, with its options.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed plug-ins: version, distribution, hooks, options, paper."""
    from harness.cli.show import show_plugins

    show_plugins(name, as_json=as_json)


@app.command()
def suites(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One suite, shipped or in a file, with its benchmarks.")
    ] = None,
    *,
    data_root: DataRootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the suites: their benchmarks, protocols, what each needs and whether its data is in the mirror."""
    from harness.cli.suites import show_suites

    show_suites(name, data_root, as_json=as_json)


@app.command()
def doctor() -> None:
    """Say what this machine can run, and the command that mends what is missing."""
    from harness.cli.doctor import show_doctor

    show_doctor()


app.command("sheet")(grading.sheet)
app.command("score")(grading.score)
app.command("show")(read.show)
app.add_typer(data.app, name="data", help="Look at datasets: what there is, and what of it will be scored.")
app.add_typer(store_commands.app, name="store", help="Look at finished jobs, and clear them away.")
app.add_typer(board.app, name="board", help="Look at leaderboards, check them and publish rows.")
app.add_typer(judge.app, name="judge", help="See how far a judge agrees with people, and what it has cost.")
