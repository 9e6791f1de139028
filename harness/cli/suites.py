"""`harness suites`: which benchmarks are declared together, under which protocols, and what they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.api import Benchmark, Evaluator, Files
from harness.cli.console import console
from harness.data.hubrows import read_now
from harness.data.sources import locate
from harness.errors import UserError
from harness.suite import Suite, read_suite, reads, resolve, shipped_suites

NEEDS: tuple[Literal["judge", "sandbox", "opponent"], ...] = ("judge", "sandbox", "opponent")


def show_suites(name: str | None, data_root: Path | None, *, as_json: bool) -> None:
    """The shipped suites, or one, shipped or in a file, with its benchmarks."""
    suites = [read_suite(one) for one in ([name] if name else shipped_suites())]
    if as_json:
        typer.echo(json.dumps([_json(suite, data_root) for suite in suites], indent=1))
        return
    for suite in suites:
        console().print(Text(f"{suite.name} {suite.version}", style="bold"), Text(f" {_about(suite)}", style="dim"))
        console().print(Padding(Text(suite.summary), (0, 0, 0, 2), expand=False))
        if name:
            benchmarks = _facts(suite, data_root)
            console().print(Padding(_table(benchmarks), (1, 0, 1, 2), expand=False))
            for line in _where(benchmarks):
                console().print(Padding(Text(line), (0, 0, 0, 2), expand=False))


def _about(suite: Suite) -> str:
    """`3 benchmarks, needs judge`; or why it cannot be run here."""
    try:
        found = [evaluator for evaluator, _ in resolve(suite).values()]
    except UserError as error:
        return str(error)
    count = f"{len(found)} benchmark{'' if len(found) == 1 else 's'}"
    needed = [what for what in NEEDS if any(evaluator.needs(what) for evaluator in found)]
    return ", ".join([count, *([f"needs {' and '.join(needed)}"] if needed else [])])


def _facts(suite: Suite, data_root: Path | None) -> list[dict[str, Any]]:
    groups = {name: group for group, names in suite.composite.groups.items() for name in names}
    return [
        {
            "benchmark": name,
            "group": groups.get(name),
            "plugin": f"{plugin.plugin.name} {plugin.plugin.version}",
            "protocol": evaluator.protocol,
            "score": evaluator.task.score,
            "out_of": evaluator.out_of,
            "items": _items(evaluator, data_root),
            "needs": [what for what in NEEDS if evaluator.needs(what)],
            "data": _data(evaluator, data_root),
            "summary": evaluator.summary,
        }
        for name, (evaluator, plugin) in resolve(suite).items()
    ]


def _items(evaluator: Evaluator, data_root: Path | None) -> int | None:
    """How many questions there are; None where the data is not here, and for lm-eval's tasks: only it can tell."""
    task = evaluator.task
    if not isinstance(task, Benchmark) or any(locate(one, data_root) is None for one in task.questions.data):
        return None
    return len(task.questions.items(read_now(task.questions.data, data_root)))


def _data(evaluator: Evaluator, data_root: Path | None) -> dict[str, str]:
    """Dataset or file to where it is."""
    try:
        found = reads(evaluator)
    except UserError as error:
        return {"a file": f"{error.problem}; {error.remedy}"}
    places: dict[str, str] = {}
    for location in found:
        if isinstance(location, Files):
            places |= {path: "there" if Path(path).expanduser().is_file() else "missing" for path in location.paths}
        elif places.get(location.id) != "not in the mirror":
            places[location.id] = "not in the mirror" if locate(location, data_root) is None else "in the mirror"
    return places


def _table(benchmarks: list[dict[str, Any]]) -> Table:
    """A row for each benchmark; a column that would tell nothing of any of them is left out."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    optional = [name for name in ("group", "items", "needs") if any(one[name] for one in benchmarks)]
    columns = [name for name in ("benchmark", "group", "protocol", "items", "needs") if name in (*optional, *_ALWAYS)]
    for column in columns:
        justify: Literal["left", "right"] = "right" if column == "items" else "left"
        table.add_column(column, overflow="fold", no_wrap=column in _ALWAYS, justify=justify)
    for one in benchmarks:
        words = {
            **one,
            "items": "-" if one["items"] is None else f"{one['items']:,}",
            "needs": ", ".join(one["needs"]) or "-",
        }
        table.add_row(*(Text(str(words[column])) for column in columns))
    return table


_ALWAYS = ("benchmark", "protocol")


def _where(benchmarks: list[dict[str, Any]]) -> list[str]:
    """A line for what of the data is in the mirror, one for what is not, and so on."""
    names: dict[str, list[str]] = {}
    for one in benchmarks:
        for name, place in one["data"].items():
            names.setdefault(place, []).append(name)
    return [f"{place}: {', '.join(dict.fromkeys(found))}" for place, found in names.items()]


def _json(suite: Suite, data_root: Path | None) -> dict[str, Any]:
    head = suite.model_dump(mode="json", include={"name", "version", "summary", "composite", "options"})
    return {**head, "benchmarks": _facts(suite, data_root)}
