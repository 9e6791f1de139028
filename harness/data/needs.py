"""Which hub datasets something needs: a recipe, a plug-in, one of its datasets or benchmarks, or an id itself."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from harness.api import Benchmark, Evaluator, Files, Generated, Hub
from harness.arms import FALLBACK, ArmSpec, bind
from harness.data.resolve import resolve_use
from harness.data.sources import from_text
from harness.discovery import installed, is_file_plugin, load_plugin, suggestion
from harness.errors import UserError
from harness.recipe import Recipe, is_plugin, load, plugin_of

Location = Hub | Files | Generated


def needed(name: str) -> tuple[Hub, ...]:
    """The hub datasets of everything that goes by the name; none where its data is made on the spot or the user's.

    Raises UserError for a name that nothing has.
    """
    if not is_plugin(name) and not _is_yaml(name):
        return _hubs(iter([from_text(name).location]))
    found: list[Hub] = []
    if is_recipe := _is_yaml(name) or name in _recipes():
        found += _hubs(_of_recipe(load(name)))
    if is_offered := is_file_plugin(plugin_of(name)) or plugin_of(name) in installed():
        found += _hubs(_of_plugin(name))
    if not is_recipe and not is_offered:
        raise UserError(f"nothing is called {name!r}", suggestion(name, (*_recipes(), *installed())))
    return tuple(dict.fromkeys(found))


def _recipes() -> tuple[str, ...]:
    """Names of the embedded ones."""
    return tuple(Path(item.name).stem for item in files("harness.recipes").iterdir() if _is_yaml(item.name))


def _is_yaml(name: str) -> bool:
    return Path(name).suffix in {".yaml", ".yml"}


def _hubs(locations: Iterator[Location]) -> tuple[Hub, ...]:
    return tuple(location for location in locations if isinstance(location, Hub))


def _of_recipe(recipe: Recipe) -> Iterator[Location]:
    sources = bind(ArmSpec((FALLBACK,)), recipe.plugin_names()).sources()
    for uses in recipe.data.values():
        for use in uses:
            yield resolve_use(use, sources)[1].location
    for name in recipe.benchmarks:
        yield from _of_plugin(name, datasets=False)


def _of_plugin(name: str, *, datasets: bool = True) -> Iterator[Location]:
    """What a plug-in offers, but for optional benchmarks; or what is named, `plugin:dataset` or `plugin:benchmark`."""
    bound, plugin, wanted = bind(ArmSpec((FALLBACK,)), [plugin_of(name)]), load_plugin(plugin_of(name)), _part(name)
    offered = [
        (benchmark, evaluator.optional, _read_by(evaluator))
        for benchmark, (evaluator, owner) in bound.evaluators().items()
        if owner is plugin
    ]
    if datasets:
        offered += [(n, False, (source.location,)) for n, (source, owner) in bound.sources().items() if owner is plugin]
    chosen = [locations for n, optional, locations in offered if (n == wanted if wanted else not optional)]
    if wanted and not chosen:
        known = sorted({n for n, *_ in offered})
        raise UserError(f"the plug-in {plugin.plugin.name!r} offers no {wanted!r}", suggestion(wanted, known))
    for locations in chosen:
        yield from locations


def _part(name: str) -> str:
    """`gsm8k_train` of `gsm8k:gsm8k_train`."""
    return name.partition(":")[2]


def _read_by(evaluator: Evaluator) -> tuple[Location, ...]:
    """What asking and scoring read."""
    task = evaluator.task
    return (*task.questions.data, *task.scorer.data) if isinstance(task, Benchmark) else task.data
