"""Which hub datasets something needs: a recipe, suite, plug-in, one of its datasets or benchmarks, or an id itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.api import Files, Generated, Hub
from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.data.resolve import resolve_use
from harness.data.sources import from_text
from harness.discovery import installed, is_file_plugin, load_plugin, offering, suggestion
from harness.errors import UserError
from harness.recipe import PACKAGE, Recipe, is_plugin, load, plugin_of
from harness.settings import read_yaml, shipped
from harness.suite import chosen, read_suite, reads, resolve, shipped_suites

Location = Hub | Files | Generated


def needed(name: str) -> tuple[Hub, ...]:
    """The hub datasets of everything that goes by the name; none where its data is made on the spot or the user's.

    Raises UserError for a name that nothing has.
    """
    if not is_plugin(name) and not _is_yaml(name):
        return _hubs(iter([from_text(name).location]))
    found: list[Hub] = []
    is_suite = name in shipped_suites() or (_is_yaml(name) and "model" not in read_yaml(name, PACKAGE, "recipe"))
    if is_suite:
        found += _hubs(location for evaluator, _ in resolve(read_suite(name)).values() for location in reads(evaluator))
    is_recipe = name in shipped(PACKAGE) or (_is_yaml(name) and not is_suite)
    if is_recipe:
        found += _hubs(_of_recipe(load(name)))
    is_offered = not _is_yaml(name) and (is_file_plugin(plugin_of(name)) or plugin_of(name) in installed())
    if is_offered:
        found += _hubs(_of_plugin(name))
    if not is_recipe and not is_suite and not is_offered:
        known = (*shipped(PACKAGE), *shipped_suites(), *offering("dataset"), *offering("benchmark"))
        raise UserError(f"nothing is called {name!r}", suggestion(name, known))
    return tuple(dict.fromkeys(found))


def _is_yaml(name: str) -> bool:
    return Path(name).suffix in {".yaml", ".yml"}


def _hubs(locations: Iterator[Location]) -> tuple[Hub, ...]:
    return tuple(location for location in locations if isinstance(location, Hub))


def _of_recipe(recipe: Recipe) -> Iterator[Location]:
    bound = bind(ArmSpec((FALLBACK,), options=recipe.options), recipe.plugin_names())
    sources = bound.sources()
    for uses in recipe.data.values():
        for use in uses:
            yield resolve_use(use, sources)[1].location
    for evaluator, _ in chosen(recipe.entries(), bound.evaluators()).values():
        yield from reads(evaluator)


def _of_plugin(name: str) -> Iterator[Location]:
    """What a plug-in offers, but for optional benchmarks; or what is named, `plugin:dataset` or `plugin:benchmark`."""
    bound, plugin, wanted = bind(ArmSpec((FALLBACK,)), [plugin_of(name)]), load_plugin(plugin_of(name)), _part(name)
    benchmarks = {n: evaluator for n, (evaluator, owner) in bound.evaluators().items() if owner is plugin}
    sources = {n: source for n, (source, owner) in bound.sources().items() if owner is plugin}
    if wanted and wanted not in benchmarks.keys() | sources.keys():
        known = sorted({*benchmarks, *sources})
        raise UserError(f"the plug-in {plugin.plugin.name!r} offers no {wanted!r}", suggestion(wanted, known))
    for n, evaluator in benchmarks.items():
        if n == wanted if wanted else not evaluator.optional:
            yield from reads(evaluator)
    for n, source in sources.items():
        if wanted in ("", n):
            yield source.location


def _part(name: str) -> str:
    """`gsm8k_train` of `gsm8k:gsm8k_train`."""
    return name.partition(":")[2]
