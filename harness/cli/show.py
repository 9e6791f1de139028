"""What `run`, `status` and `plugins` print."""

from __future__ import annotations

import json
from collections import Counter
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
from harness.cli.console import console
from harness.cli.options import RUNS
from harness.discovery import LoadedPlugin, installed, load_plugin
from harness.errors import UserError
from harness.runfolder import CURVES, PLAN_FILE
from harness.slurm.queue import cluster_states
from harness.store import Store

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
    states, out = cluster_states(store), console()
    for file in files:
        plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        keys = list(plan["jobs"])
        done = sum(store.has(key) for key in keys)
        begun = sum(store.started(key) and not store.has(key) for key in keys)
        counts = f"{done} finished, {begun} unfinished, {len(keys) - done - begun} not begun"
        of_run = Counter(states[key] for key in keys if key in states)
        with_slurm = ", ".join(f"{n} {state}" for state, n in sorted(of_run.items(), reverse=True))
        out.print(Text(file.parent.name, style="bold"), Text(f" {counts}{with_slurm and f'; in SLURM: {with_slurm}'}"))
        arms = ", ".join(arm["id"] for arm in plan["arms"])
        seeds = ", ".join(str(seed["seed"]) for seed in plan["arms"][0]["seeds"])
        out.print(Padding(Text(f"{arms}; {'seeds' if ',' in seeds else 'seed'} {seeds}"), (0, 0, 0, 2), expand=False))


DISTRIBUTION = "instruct-harness"
"""Ours; in a list, only what comes from elsewhere says where from."""


# --- plug-ins ------------------------------------------------------------------------------------------------------


def show_plugins(name: str | None, *, as_json: bool) -> None:
    """The installed plug-ins, or one with its options."""
    loaded = [load_plugin(n) for n in ([name] if name else installed())]
    if as_json:
        typer.echo(json.dumps([_plugin_json(p) for p in loaded], indent=1))
        return
    out = console()
    for item in loaded:
        plugin = item.plugin
        origin = _origin(item) if name or item.distribution != DISTRIBUTION else ""
        facts = ", ".join(filter(None, [*item.slots, plugin.paper, origin]))
        out.print(Text(f"{plugin.name} {plugin.version}", style="bold"), Text(f" {facts}", style="dim"))
        out.print(Padding(Text(plugin.summary), (0, 0, 0, 2), expand=False))
    if name:
        _show_benchmarks(out, name, loaded[0])
        for option in _options_json(loaded[0]):
            heading = Text(f"{loaded[0].plugin.name}.{option['name']}", style="bold")
            default = option["default"]
            out.print()
            out.print(heading, Text(f"default {default if isinstance(default, str) else json.dumps(default)}"))
            out.print(Padding(Text(option["description"]), (0, 0, 0, 2), expand=False))


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
