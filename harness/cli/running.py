"""From what was typed to a plan, and from the plan to a board: what `run` and `eval` have in common."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from harness.armsettings import model_arms
from harness.cli.options import RUNS, Executor
from harness.cli.plantext import show_plan
from harness.cli.progress import reporting
from harness.cli.show import show_result
from harness.credentials import command_line
from harness.data.resolve import Places
from harness.discovery import suggestion
from harness.errors import Refused, UserError
from harness.estimate.plan import estimate
from harness.plan import Plan
from harness.planner import build, choose_arms, refuse_unread
from harness.preflight import problems
from harness.recipe import load, named_model, resolved
from harness.run import check_sources, execute, missing
from harness.runfolder import LEADERBOARD, Linked, open_run_folder, write_result
from harness.settings import Setting
from harness.store import Store
from harness.suite import read_suite, shipped_suites
from harness.sweeps import swept_seeds

MODEL_IDS = {("model",), *(("model", part) for part in ("id", "revision", "init", "base_url"))}
"""Settings in whose place `eval` takes arguments."""


def places_of(store: Path, data_root: Path | None) -> Places:
    """Where this machine keeps data."""
    return Places(data_root, store / "cache")


@dataclass(frozen=True)
class Comparison:
    """What `run` and `plan` are asked to compare, as it was typed."""

    recipe: str | None = None
    plugins: Sequence[str] = ()
    settings: Sequence[str] = ()
    sweeps: Sequence[str] = ()
    factorial: bool = False
    baseline: bool = True
    seeds: str | None = None


def plan_of(asked: Comparison, places: Places) -> Plan:
    """The plan of a recipe and its arms."""
    parsed = [*swept_seeds(asked.sweeps), *_parsed(asked.settings, asked.seeds)]
    whole = load(asked.recipe, parsed, asked.plugins)
    arms = choose_arms(whole, asked.plugins, parsed, asked.sweeps, baseline=asked.baseline, factorial=asked.factorial)
    return build(whole, arms, places)


def evaluation_of(
    models: Sequence[str], suite: str | None, settings: Sequence[str] | None, *, seeds: str | None, places: Places
) -> Plan:
    """The plan of an evaluation without training: one arm for each model, under a recipe made on the spot."""
    if not models:
        raise UserError("no model is named", "write harness eval ORG/NAME --suite NAME; a folder does as well")
    parsed = _parsed(settings, seeds)
    raw: dict[str, Any] = {"name": "eval", "model": {}}
    chosen = any(setting.path[0] in {"suite", "benchmarks"} for setting in parsed)
    if (suite is not None) == chosen:
        problem = "two things say what to ask" if chosen else "nothing says what to ask"
        raise UserError(problem, f"write --suite NAME alone; {suggestion('', shipped_suites())}")
    if suite is not None:
        raw |= {"name": read_suite(suite).name, "suite": suite}
    for setting in parsed:
        if setting.arm is not None or setting.path[0] in {"train", "data", "match"} or setting.path in MODEL_IDS:
            raise UserError(
                f"--set {'.'.join(setting.path)} changes nothing here: the models are named, and nothing is trained",
                "leave it away; harness run trains",
            )
    served = [named_model(model).get("base_url") is not None for model in models]
    if any(served) and not all(served):
        raise UserError("some of the models are files, and some behind a server", "evaluate them apart")
    if all(served):
        raw["engine"] = {"name": "endpoint"}
    recipe = resolved(raw, parsed)
    arms = model_arms(models, recipe)
    refuse_unread(parsed, recipe, arms)
    return build(recipe, arms, places)


def _parsed(settings: Sequence[str] | None, seeds: str | None) -> list[Setting]:
    parsed = [Setting.parse(text) for text in settings or []]
    return parsed if seeds is None else [*parsed, Setting.seeds(seeds)]


@dataclass(frozen=True)
class Way:
    """Where a plan is done, by whom, and what is made of finished jobs."""

    store: Path
    places: Places
    out: Path | None
    executor: Executor
    detach: bool
    accept_source: bool


def carry_out(plan: Plan, way: Way) -> None:
    """Do what the store does not hold yet, and print the board."""
    if way.detach and way.executor is Executor.local:
        raise UserError("--detach leaves the jobs to a cluster", "add --executor slurm")
    kept = Store(way.store)
    folder = way.out or RUNS / f"{plan.recipe.name}-{plan.digest[:8]}"
    if not way.accept_source:
        check_sources(plan, kept)
    todo = missing(plan, kept)
    needs = estimate(plan, kept, way.places)
    show_plan(plan, kept, needs, brief=True)
    if found := problems(plan, kept, needs, here=way.executor is Executor.local):
        raise Refused(found)
    open_run_folder(plan, kept, folder)
    if todo:
        with reporting(plan, len(todo)) as shown:
            reporter = Linked(shown, plan, kept, folder)
            if way.executor is Executor.slurm:
                from harness.slurm.follow import execute as submit_and_follow
                from harness.slurm.submit import SlurmCluster

                submit_and_follow(plan, kept, way.places, reporter, cluster=SlurmCluster(), detach=way.detach)
            else:
                execute(plan, kept, way.places, reporter, logs=folder / "logs")
    if way.detach and missing(plan, kept):
        return
    if not plan.unscored and (todo or way.accept_source or not (folder / LEADERBOARD).is_file()):
        command = command_line(sys.argv[1:], plan.recipe.model_dump(mode="json"))
        write_result(plan, kept, folder, command=command, accepted_source=way.accept_source)
    if not plan.unscored:
        show_result(folder)
    if plan.waiting:
        names = ", ".join(plan.waiting)
        typer.echo(f"{names}: answered, not judged yet: give the same command with a judge in place of --no-judge")
