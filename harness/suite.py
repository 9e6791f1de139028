"""Suites: benchmarks declared together in advance, with a version and the rule of their composite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from harness.api import Benchmark, Evaluator, Files, Hub
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.discovery import LoadedPlugin, load_plugin, suggestion
from harness.errors import UserError
from harness.jobs import Declaration
from harness.settings import read_yaml, shipped
from harness.wrongsettings import option_error

PACKAGE = "harness.suites"
"""Where the shipped ones lie."""

Offered = Mapping[str, tuple[Evaluator, LoadedPlugin]]
"""Benchmarks by name, each with the plug-in that offers it."""


class CompositeRule(Declaration):
    """How the benchmarks' scores become one number: their plain mean, or the mean of the groups' means."""

    groups: Mapping[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    """Group to its benchmarks. Every benchmark is in one group; without groups each stands for itself."""


class Suite(Declaration):
    """A suite as its file says it. Raise the version whenever a score or the composite changes its meaning."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: int = pydantic.Field(ge=1)
    summary: str
    benchmarks: tuple[str, ...] = pydantic.Field(min_length=1)
    """Plug-ins, each for all that it offers but what is optional; or `plugin:benchmark`."""
    composite: CompositeRule = CompositeRule()
    options: Mapping[str, Mapping[str, Any]] = pydantic.Field(default_factory=dict)
    """Plug-in name to options that a recipe leaves as they are."""


def shipped_suites() -> tuple[str, ...]:
    """Names of the suites that come with the package, sorted."""
    return tuple(sorted(shipped(PACKAGE)))


def read_suite(name: str) -> Suite:
    """The suite in a YAML file, or the shipped one of that name.

    Raises UserError where there is none, and for a key that is unknown, missing or wrong.
    """
    raw = read_yaml(name, PACKAGE, "suite")
    try:
        return Suite.model_validate(raw)
    except pydantic.ValidationError as error:
        wrong = option_error(error, Suite)
        raise UserError(f"the suite {name}: {wrong.problem}", wrong.remedy) from None


def resolve(suite: Suite) -> dict[str, tuple[Evaluator, LoadedPlugin]]:
    """The suite's benchmarks with their plug-ins, under its own options.

    Raises UserError where an entry names nothing, an option is wrong, or the groups do not fit.
    """
    bound = bind(ArmSpec(("base",), options=suite.options), [entry.partition(":")[0] for entry in suite.benchmarks])
    found = chosen(suite.benchmarks, bound.evaluators())
    check_groups(suite, tuple(found))
    return found


def chosen(entries: Sequence[str], offered: Offered) -> dict[str, tuple[Evaluator, LoadedPlugin]]:
    """The benchmarks that entries name, `plugin` or `plugin:benchmark`, in the order of the entries.

    A bare plug-in stands for all it offers but what is optional. Raises UserError for an entry that names nothing.
    """
    found: dict[str, tuple[Evaluator, LoadedPlugin]] = {}
    for entry in entries:
        plugin_name, _, benchmark = entry.partition(":")
        plugin = load_plugin(plugin_name)
        mine = {name: one for name, one in offered.items() if one[1] is plugin}
        if not mine:
            raise UserError(f"the plug-in {plugin_name!r} offers no benchmark", "take it out of the benchmarks")
        if benchmark and benchmark not in mine:
            raise UserError(
                f"the plug-in {plugin_name!r} offers no benchmark {benchmark!r}", suggestion(benchmark, tuple(mine))
            )
        wanted = [benchmark] if benchmark else [name for name, (one, _) in mine.items() if not one.optional]
        if not wanted:
            names = ", ".join(f"{plugin_name}:{name}" for name in mine)
            raise UserError(f"all that the plug-in {plugin_name!r} offers is optional", f"name it: {names}")
        found |= {name: mine[name] for name in wanted}
    return found


def check_groups(suite: Suite, benchmarks: Sequence[str]) -> None:
    """Raise UserError where the groups do not hold every one of the suite's benchmarks once."""
    grouped = Counter(name for names in suite.composite.groups.values() for name in names)
    if not grouped:
        return
    for name in [*benchmarks, *grouped]:
        if name not in benchmarks:
            raise UserError(
                f"the suite {suite.name} groups {name!r}, which is none of its benchmarks",
                suggestion(name, benchmarks),
            )
        if grouped[name] != 1:
            raise UserError(
                f"the suite {suite.name} has {name!r} in {grouped[name]} groups", "put every benchmark into one group"
            )


def reads(evaluator: Evaluator) -> tuple[Hub | Files, ...]:
    """The data of the benchmark, each once.

    Raises UserError where it wants a file that the user has yet to name.
    """
    task = evaluator.task
    found = (*task.questions.data, *task.scorer.data) if isinstance(task, Benchmark) else task.data
    return tuple(dict.fromkeys(found))
