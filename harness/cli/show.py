"""What `run`, `plan`, `status` and `plugins` print."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.canonical import Json
from harness.cli import estimates
from harness.cli.console import console
from harness.cli.options import RUNS
from harness.data.mixtures import count
from harness.discovery import LoadedPlugin, installed, load_plugin
from harness.errors import UserError
from harness.estimate.figures import Estimate
from harness.jobs import MADE, MixtureItem
from harness.plan import ArmPlan, Plan, arm_jobs
from harness.preflight import chosen
from harness.runfolder import CURVES, PLAN_FILE
from harness.slurm.queue import cluster_states
from harness.store import SHORT, Store

# --- plan ----------------------------------------------------------------------------------------------------------


def show_plan(plan: Plan, store: Store, estimate: Estimate, *, brief: bool) -> None:
    """The methods or models, what each arm does and needs, how much of it is done; `brief` leaves the arms out."""
    console = Console()
    console.print(Text(_compared(plan)))
    finished = sum(store.has(key) for key in plan.jobs)
    seeds = ", ".join(map(str, plan.recipe.seeds))
    console.print(
        Text(f"recipe: {plan.recipe.name}, {_seeds_word(plan)} {seeds}, {len(plan.jobs)} jobs, {finished} in the store")
    )
    console.print(Text(f"answers: {_answers_words(plan)}"))
    if len(plan.arms) > 1:
        console.print(Text(f"sharing: {sharing(plan)}"))
    if any(job.kind == "train" and not store.has(key) for key, job in plan.jobs.items()):
        console.print(Text(chosen(plan)))
    estimates.show_sum(console, estimate)
    if brief:
        return
    estimates.show_grounds(console, estimate)
    for arm, needs in zip(plan.arms, estimate.arms, strict=True):
        console.print()
        _show_arm(console, plan, arm, store)
        estimates.show_arm(console, needs)


def _compared(plan: Plan) -> str:
    if any(arm.spec.model for arm in plan.arms):
        return f"models: {', '.join(arm.id for arm in plan.arms)}"
    methods = {p.plugin.name: p for arm in plan.arms for p in arm.bound.methods()}
    return f"methods: {', '.join(f'{name} {p.plugin.version}' for name, p in sorted(methods.items()))}"


def sharing(plan: Plan) -> str:
    """`7 arms, 44 jobs; 12 are shared, and each arm for itself would take 89`."""
    uses = Counter(key for arm in plan.arms for key in arm_jobs(plan, arm))
    shared = sum(n > 1 for n in uses.values())
    alone = (
        f"; {shared} {'is' if shared == 1 else 'are'} shared, and each arm for itself would take {uses.total()}"
        if shared
        else ""
    )
    return f"{len(plan.arms)} arms, {len(plan.jobs)} jobs{alone}"


def _seeds_word(plan: Plan) -> str:
    return "seed" if len(plan.recipe.seeds) == 1 else "seeds"


def _answers_words(plan: Plan) -> str:
    engine, limit = plan.recipe.engine, plan.recipe.limit
    asked = "every item" if limit is None else f"limit {limit}: the first {limit} items"
    return f"engine {engine.name} in {engine.dtype}, {asked} of each benchmark"


def _show_arm(console: Console, plan: Plan, arm: ArmPlan, store: Store) -> None:
    console.print(Text(arm.id, style="bold"), Text(f"against {arm.baseline}" if arm.baseline else "", style="dim"))
    for name, value in arm.differs.items():
        console.print(Padding(Text(f"{name}: {_words(value)}", style="yellow"), (0, 0, 0, 2)))
    steps = _steps(plan, arm, store)
    width = max(len(step.label) for step in steps)
    seed = f" (seed {arm.seeds[0].seed})" if len(arm.seeds) > 1 else ""
    for step in steps:
        held = sum(store.has(key) for key in step.keys)
        state = "cached" if held == len(step.keys) else f"{held} of {len(step.keys)} cached" if held else "to do"
        console.print(Text(f"  {step.label:<{width}}  {step.keys[0][:SHORT]}{seed}  {state}"))
        if step.details:
            console.print(Padding(Text(step.details, style="dim"), (0, 0, 0, 6)))


@dataclass(frozen=True)
class _Step:
    label: str
    keys: list[str]
    """One a seed."""
    details: str = ""


def _steps(plan: Plan, arm: ArmPlan, store: Store) -> list[_Step]:
    steps = _pretraining(plan, arm)
    for index, stage in enumerate(arm.seeds[0].stages):
        declared = plan.jobs[stage.key].declared
        data = " + ".join(_item_words(item) for item in declared["mixture"])
        length = (
            f"{stage.epochs:g} epochs"
            if declared["budget"] is None
            else f"the {plan.recipe.match} of {arm.spec.matched}"
        )
        keys = [seed.stages[index].key for seed in arm.seeds]
        steps += [step for step in _making(plan, keys) if step not in steps]
        own = f"; a loss of its own, without {', '.join(stage.without)}" if stage.without else ""
        steps.append(_Step(f"train {stage.name}", keys, f"{data}; {length}{own}{_tokens(store, stage.key)}"))
    merges = [seed.merge for seed in arm.seeds if seed.merge]
    if merges:
        steps.append(_Step("merge", merges, plan.jobs[merges[0]].declared["method"]))
    for name in arm.seeds[0].evaluations:
        of = [seed.evaluations[name] for seed in arm.seeds]
        steps.append(_Step(f"evaluate {name}", [*(e.respond for e in of), *(e.evaluate for e in of)]))
    return steps


def _pretraining(plan: Plan, arm: ArmPlan) -> list[_Step]:
    """Of a model that is made on the spot and pretrained before any arm starts from it."""
    needed = arm_jobs(plan, arm)
    keys = [key for key, job in plan.jobs.items() if key in needed and job.kind == "train" and not job.payload["stage"]]
    if not keys:
        return []
    declared = plan.jobs[keys[0]].declared
    data = " + ".join(_item_words(item) for item in declared["mixture"])
    return [_Step("pretrain", keys, f"{data}; {declared['settings']['epochs']:g} epochs")]


def _making(plan: Plan, keys: list[str]) -> list[_Step]:
    """The jobs that make the data of these jobs, one a seed, with those that make the data of that first."""
    jobs, steps = [plan.jobs[key] for key in keys], list[_Step]()
    for role in jobs[0].parents:
        if role.startswith(MADE):
            makers = [job.parents[role] for job in jobs]
            steps += [*_making(plan, makers), _made(plan, makers, role.removeprefix(MADE))]
    return steps


def _made(plan: Plan, keys: list[str], name: str) -> _Step:
    job = plan.jobs[keys[0]]
    if not job.curates:
        return _Step(f"generate {name}", keys)
    portions = job.declared["portions"]
    into = f"; portions {', '.join(portions)}" if len(portions) > 1 else ""
    data = " + ".join(_item_words(item) for item in job.declared["items"])
    return _Step(f"prepare {job.declared['curation']['class']}", keys, f"{data}{into}")


def _tokens(store: Store, key: str) -> str:
    """Known once a stage has been trained; before that nobody has tokenised its data."""
    manifest = store.manifest(key)
    return f"; {manifest['result']['tokens']:,} tokens" if manifest else ""


def _item_words(item: Json) -> str:
    """`gsm8k (7,473)`, `1/6 of gsm8k: 1,245 of 7,473`."""
    data, words = item["data"], []
    for op in reversed(item["ops"]):
        size = op["fraction"] or op["amount"] or ""
        words.append(f"{size} of " if op["op"] == "sample" else f"{op['op']} {size} of ")
    what, taken = f"{''.join(words)}{data['name']}", count(MixtureItem.model_validate(item))
    if taken is None:
        return f"{what} (size unknown)"
    return f"{what}: {taken:,} of {data['n']:,}" if words else f"{what} ({taken:,})"


def _words(value: Json) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(v)}" for name, v in value.items()) or "none"
    if isinstance(value, list):
        return " -> ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)


# --- results -------------------------------------------------------------------------------------------------------


def show_result(folder: Path) -> None:
    """Print the run folder's leaderboard, which differences are real, and the curves of what was swept."""
    from harness.board.publish import read_board
    from harness.board.table import print_board
    from harness.cli.summary import print_curves, print_verdicts

    console = Console()
    console.print()
    board = read_board(folder)
    print_board(board, console)
    print_verdicts(board, console)
    print_curves(board, console)
    curves = ", curves" if any((folder / CURVES).glob("*/*/*/*")) else ""
    console.print(Text(f"\n{folder}: leaderboard.json, index.html, rows, samples{curves}"))
    for name in board.benchmarks:
        if any("ungraded" in line.cells[name].unscored for line in board.lines):
            console.print(Text(f"{name}: people have yet to grade it: harness sheet {folder}"))


# --- status --------------------------------------------------------------------------------------------------------


def show_status(folder: Path, store: Store) -> None:
    """Every run folder with its jobs counted by state."""
    files = [folder / PLAN_FILE] if (folder / PLAN_FILE).is_file() else sorted(folder.glob(f"*/{PLAN_FILE}"))
    if not files:
        if not folder.is_dir() and folder != RUNS:
            raise UserError(f"there is no folder {folder}", "give a run folder, or the folder that holds them")
        typer.echo(f"no run in {folder}; harness run --plugins im,dmt starts one")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("run", "arms", "seeds"):
        table.add_column(column, overflow="fold")
    states = cluster_states(store)
    for column in ("finished", "unfinished", "not begun"):
        table.add_column(column, min_width=min(map(len, column.split())), justify="right")
    if states:
        table.add_column("in SLURM", justify="right")
    for file in files:
        plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        keys = list(plan["jobs"])
        done = sum(store.has(key) for key in keys)
        begun = sum(store.started(key) and not store.has(key) for key in keys)
        arms = ", ".join(arm["id"] for arm in plan["arms"])
        seeds = ", ".join(str(seed["seed"]) for seed in plan["arms"][0]["seeds"])
        counts = (done, begun, len(keys) - done - begun)
        of_run = Counter(states[key] for key in keys if key in states)
        with_slurm = ", ".join(f"{n} {state}" for state, n in sorted(of_run.items(), reverse=True))
        table.add_row(
            Text(file.parent.name), Text(arms), seeds, *map(str, counts), *([with_slurm or "-"] if states else [])
        )
    console().print(table)


# --- plug-ins ------------------------------------------------------------------------------------------------------


def show_plugins(name: str | None, *, as_json: bool) -> None:
    """The installed plug-ins, or one with its options."""
    loaded = [load_plugin(n) for n in ([name] if name else installed())]
    if as_json:
        typer.echo(json.dumps([_plugin_json(p) for p in loaded], indent=1))
        return
    console = Console()
    for item in loaded:
        plugin = item.plugin
        facts = ", ".join(filter(None, [" ".join(item.slots), plugin.paper, _origin(item)]))
        console.print(Text(f"{plugin.name} {plugin.version}", style="bold"), Text(facts, style="dim"))
        console.print(Padding(Text(plugin.summary), (0, 0, 0, 2), expand=False))
    if name:
        _show_benchmarks(console, name, loaded[0])
        for option in _options_json(loaded[0]):
            console.print()
            console.print(
                Text(f"{loaded[0].plugin.name}.{option['name']}", style="bold"), Text(f"default {option['default']}")
            )
            console.print(Padding(Text(option["description"]), (0, 0, 0, 2), expand=False))


def _show_benchmarks(console: Console, name: str, plugin: LoadedPlugin) -> None:
    """What a recipe can name, those that it must name last."""
    if "evaluator" not in plugin.slots:
        return
    offered = bind(ArmSpec((FALLBACK,)), [name]).evaluators().values()
    mine = sorted((one for one, of in offered if of is plugin), key=lambda one: one.optional)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("benchmark", "protocol", "what it is"):
        table.add_column(column, overflow="fold")
    for one in mine:
        words = "; ".join(filter(None, [one.summary, "only where it is named" if one.optional else ""]))
        table.add_row(Text(one.name), Text(one.protocol), Text(words))
    console.print(Padding(table, (1, 0, 0, 0), expand=False))


def _origin(item: LoadedPlugin) -> str:
    return item.path or f"{item.distribution} {item.distribution_version}"


def _plugin_json(item: LoadedPlugin) -> Json:
    return {
        **item.provenance(),
        "summary": item.plugin.summary,
        "slots": list(item.slots),
        "options": _options_json(item),
    }


def _options_json(item: LoadedPlugin) -> list[dict[str, Any]]:
    kind = item.plugin.options
    if kind is None:
        return []
    defaults = kind().model_dump(mode="json")
    return [
        {"name": name, "default": defaults[name], "description": field.description or ""}
        for name, field in kind.model_fields.items()
    ]
