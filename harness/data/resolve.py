"""A recipe's datasets: names resolved to plug-ins, files and hub ids, and declared for the plan's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from harness.api import ChatColumns, DataInfo, DataSource, Derived, Files, Generated, Hub
from harness.arms import BoundArm, bind
from harness.armspec import ArmSpec
from harness.canonical import share
from harness.data.mixtures import count
from harness.data.sources import declare, from_text
from harness.discovery import LoadedPlugin, load_plugin
from harness.errors import UserError
from harness.jobs import EXAMPLES, MADE, MixtureItem, Operation
from harness.recipe import Recipe, SourceUse, is_plugin, plugin_of, recipe_of


@dataclass(frozen=True)
class Places:
    """Where this machine keeps things; nothing here enters a key."""

    data_root: Path | None
    """The local mirror, `HARNESS_DATA_ROOT`."""
    cache: Path | None
    """Digests and counts of data files."""


@dataclass(frozen=True)
class Dataset:
    """One dataset of the recipe, resolved."""

    role: str
    source: DataSource = field(repr=False)
    item: MixtureItem
    """Its declaration with the recipe's own amount or fraction applied."""

    def info(self) -> DataInfo:
        """What a strategy may know of it."""
        return DataInfo(self.item.data.name, self.role, count(self.item))


def datasets(recipe: Recipe, bound: BoundArm, places: Places) -> dict[str, Dataset]:
    """The recipe's datasets by name, in its order."""
    offered = bound.sources()
    found: dict[str, Dataset] = {}
    for role, uses in recipe.data.items():
        for use in uses:
            name, source, plugin = resolve_use(use, offered)
            if name in found:
                raise UserError(f"two datasets of the recipe are called {name!r}", "give one of them a `name`")
            declared = declare(name, source, plugin, data_root=places.data_root, cache=places.cache)
            fraction = None if use.fraction is None else share(use.fraction)
            sized = fraction not in {None, share(Fraction(1))} or use.amount is not None
            ops = (Operation(op="sample", amount=use.amount, fraction=fraction),) if sized else ()
            found[name] = Dataset(role, source, MixtureItem(data=declared, ops=ops))
    return found


@dataclass
class ArmDatasets:
    """The datasets of each arm of a run: those that all share, or an arm's own."""

    recipe: Recipe
    shared: Mapping[str, Dataset]
    places: Places
    _own: dict[str, Mapping[str, Dataset]] = field(default_factory=dict, repr=False)

    @classmethod
    def resolved(cls, recipe: Recipe, spec: ArmSpec, places: Places) -> ArmDatasets:
        """Of a recipe; any arm of the run will do."""
        return cls(recipe, datasets(recipe, bind(spec, recipe.plugin_names()), places), places)

    def bind(self, spec: ArmSpec) -> BoundArm:
        """The arm with its plug-ins, and those of its data and benchmarks."""
        return bind(spec, recipe_of(self.recipe, spec.data).plugin_names())

    def of(self, bound: BoundArm) -> Mapping[str, Dataset]:
        """What the arm trains on, by name."""
        if not bound.spec.data:
            return self.shared
        if bound.arm.id not in self._own:
            self._own[bound.arm.id] = datasets(recipe_of(self.recipe, bound.spec.data), bound, self.places)
        return self._own[bound.arm.id]

    def infos(self, bound: BoundArm) -> dict[str, DataInfo]:
        """What the arm's strategy may know of it."""
        return {name: dataset.info() for name, dataset in self.of(bound).items()}


def resolve_use(
    use: SourceUse, offered: Mapping[str, tuple[DataSource, LoadedPlugin]]
) -> tuple[str, DataSource, str | None]:
    """The dataset's name, where it is, and `name version` of the plug-in that offers it; nothing is read.

    Raises UserError for a plug-in that does not offer it.
    """
    if not is_plugin(use.source):
        source = replace(from_text(use.source), columns=use.mapped_columns())
        return use.name or _own_name(source.location, use.source), source, None
    plugin = load_plugin(plugin_of(use.source))
    if use.columns is not None:
        raise UserError(
            f"the recipe gives columns for {use.source}, whose plug-in names its own", "leave `columns` away"
        )
    mine = {name: source for name, (source, owner) in offered.items() if owner is plugin}
    wanted = use.source.partition(":")[2] or meant_alone(plugin, mine)
    if wanted not in mine:
        offers = f"the plug-in {plugin.plugin.name!r} offers"
        if not mine:
            raise UserError(f"{offers} no dataset", "harness data list shows those that do")
        choices = ", ".join(f"{plugin_of(use.source)}:{name}" for name in sorted(mine))
        several = f"{len(mine)} datasets, and the recipe names none of them"
        raise UserError(f"{offers} {f'no dataset {wanted!r}' if wanted else several}", f"there are: {choices}")
    return use.name or wanted, mine[wanted], plugin.stamp()


def meant_alone(plugin: LoadedPlugin, offered: Iterable[str]) -> str:
    """Which of its datasets a plug-in's name alone stands for: the only one, or that of the same name; else empty."""
    names = tuple(offered)
    return names[0] if len(names) == 1 else plugin.plugin.name if plugin.plugin.name in names else ""


def _own_name(location: Hub | Files | Generated, text: str) -> str:
    """`mine` of `./mine.jsonl`, `dolly_3k` of `alpagasus/dolly_3k@main`."""
    return location.id.rpartition("/")[2] if isinstance(location, Hub) else Path(text).stem


def made_sources(items: Iterable[MixtureItem], parents: Mapping[str, Path]) -> dict[str, DataSource]:
    """Those of the items' datasets that other jobs of the plan made, by name, from a job's parents."""
    made = {item.data.name: file for item in items if (file := made_by(item)[1])}
    return {
        name: DataSource(Files((str(parents[f"{MADE}{name}"] / file),)), ChatColumns()) for name, file in made.items()
    }


def made_parents(items: Iterable[MixtureItem]) -> dict[str, str]:
    """Role and key of the jobs that make the items' data; none where the recipe's data suffices.

    Raises UserError where two jobs make data of one name, of which one would be read for both.
    """
    made: dict[str, tuple[str, str]] = {}
    for item in items:
        key, file = made_by(item)
        if file and made.setdefault(item.data.name, (key, file)) != (key, file):
            raise UserError(
                f"one mixture holds two different sets called {item.data.name!r}", "train on them in two stages"
            )
    return {f"{MADE}{name}": key for name, (key, _) in made.items()}


def made_by(item: MixtureItem) -> tuple[str, str]:
    """Key of the job that makes the item's data, and the file in its folder; empty for data of the recipe."""
    source = item.data.source
    if isinstance(source, dict) and "generate" in source:
        return source["generate"], EXAMPLES
    if isinstance(source, dict) and "prepare" in source:
        return source["prepare"], f"{source['portion']}.jsonl"
    return "", ""


def derived_item(inner: MixtureItem, item: Derived, seed: int) -> MixtureItem:
    """One more operation on an item; `seed` samples where the operation names none."""
    operation = Operation(
        op=item.op,
        amount=item.amount,
        fraction=None if item.fraction is None else share(item.fraction),
        seed=seed if item.seed is None else item.seed,
        options=item.options,
    )
    return inner.model_copy(update={"ops": (*inner.ops, operation)})
