"""What the user wrote: YAML and `--set key=value`, validated. An unknown key is an error with a suggestion."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from harness.allocation import Slurm
from harness.api import AlpacaColumns, ChatColumns, Columns, PairColumns, Share, TextColumns
from harness.arms import validated
from harness.canonical import Json
from harness.discovery import LoadedPlugin, installed, is_file_plugin, load_plugin, methods, suggestion, unknown_plugin
from harness.errors import UserError
from harness.execution import Execution
from harness.jobs import Declaration, EngineSettings, ModelSettings, TrainSettings
from harness.judge.settings import Judging
from harness.runtime import Runtime
from harness.settings import Setting, put, read_extended
from harness.suite import Suite, read_suite
from harness.wrongsettings import option_error, unknown_setting

DEFAULT = "playground"
"""The embedded recipe, run where none is named."""

PACKAGE = "harness.recipes"
"""Where the embedded ones lie."""

_SERVED = re.compile(r"(?P<name>.+?)@(?P<url>https?://.+)")

COMPARED = ("arms", "sweep")
"""Keys that say what is compared, and nothing of how: the plan's arms tell what came of them."""

COLUMNS: Mapping[str, type[Columns]] = {
    "chat": ChatColumns,
    "pair": PairColumns,
    "alpaca": AlpacaColumns,
    "text": TextColumns,
}


class SourceUse(Declaration):
    """One dataset of the recipe: a plug-in's (`gsm8k`, `playground:playground_code`, `own.py`), a file or a hub id."""

    source: str
    name: str | None = None
    """What the run calls it; by default the dataset's own name, or the file's stem."""
    fraction: Share | None = None
    amount: int | None = pydantic.Field(None, ge=1)
    columns: Mapping[str, str] | None = None
    """`{kind: chat | pair | alpaca | text, <column>: <name in the file>}` for files whose columns have other names."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _one_size(self) -> SourceUse:
        if self.fraction is not None and self.amount is not None:
            raise ValueError("give a fraction or an amount, not both")
        return self

    def mapped_columns(self) -> Columns | None:
        """The column mapping, None to recognise the usual ones."""
        if self.columns is None:
            return None
        names = dict(self.columns)
        kind = names.pop("kind", "pair")
        if kind not in COLUMNS:
            raise UserError(
                f"the columns of {self.source}: there is no kind {kind!r}", suggestion(kind, tuple(COLUMNS))
            )
        try:
            return COLUMNS[kind](**names)
        except TypeError as error:
            raise UserError(f"the columns of {self.source}: {error}", "see docs/data.md") from None


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]
"""What every random number generator takes."""

SourceUses = Annotated[tuple[SourceUse, ...], pydantic.BeforeValidator(_to_list), pydantic.Field(min_length=1)]

Written = Annotated[tuple[str, ...], pydantic.BeforeValidator(_to_list), pydantic.Field(exclude_if=operator.not_)]
"""One text or several; an empty one is left out of what is recorded."""


class Training(Execution, TrainSettings):
    """The recipe's `train:`. What results depend on enters the keys; how it is executed does not."""

    def settings(self) -> TrainSettings:
        """What results depend on."""
        return TrainSettings.model_validate(self.model_dump(include=set(TrainSettings.model_fields)))

    def execution(self) -> Execution:
        """How it is done."""
        return Execution.model_validate(self.model_dump(include=set(Execution.model_fields)))


class Recipe(Declaration):
    """A resolved recipe: everything a run depends on but its arms."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: ModelSettings
    data: Mapping[str, SourceUses] = pydantic.Field(default_factory=dict)
    """Role (`general`, `specialist` or a name of the user's) to datasets; strategies speak of roles."""
    train: Training = Training()
    benchmarks: Written = ()
    """Plug-ins, each for all that it offers but what is optional; or `plugin:benchmark`."""
    suite: Suite | None = pydantic.Field(None, exclude_if=operator.not_)
    """Benchmarks that were declared elsewhere, instead."""
    engine: EngineSettings = EngineSettings()
    judge: Judging | Literal["later"] | None = pydantic.Field(None, exclude_if=operator.not_)
    """Who judges; `later`: judged benchmarks are asked, and scored once somebody is named."""
    match: Literal["none", "examples", "tokens", "steps"] = "none"
    """Give the baseline the budget of the arm it is compared with, counted in these units."""
    seeds: tuple[Seed, ...] = pydantic.Field((0,), min_length=1)
    options: Mapping[str, Mapping[str, Any]] = pydantic.Field(default_factory=dict)
    """Plug-in name to options."""
    arms: Written = ()
    """What is compared where no `--plugins` says so, each as one would write it there."""
    sweep: Mapping[str, Any] = pydantic.Field(default_factory=dict, exclude_if=operator.not_)
    """Setting to a list of values, as `--sweep` has it."""
    limit: int | None = pydantic.Field(None, ge=1)
    """Only the first so many items of each benchmark; such rows are not publishable."""
    runtime: Runtime = Runtime()
    slurm: Slurm = Slurm()

    @pydantic.field_validator("model", mode="before")
    @classmethod
    def _model_from_text(cls, value: object) -> object:
        return named_model(value) if isinstance(value, str) else value

    @pydantic.field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("every seed counts once")
        return seeds

    @pydantic.model_validator(mode="after")
    def _one_declaration(self) -> Recipe:
        if bool(self.benchmarks) == (self.suite is not None):
            raise ValueError("give either benchmarks or a suite")
        return self

    def entries(self) -> tuple[str, ...]:
        """What is evaluated: `plugin` or `plugin:benchmark`."""
        return self.benchmarks if self.suite is None else self.suite.benchmarks

    def plugin_names(self) -> tuple[str, ...]:
        """Plug-ins named as data sources and benchmarks."""
        uses = [use.source for group in self.data.values() for use in group if is_plugin(use.source)]
        return tuple(dict.fromkeys(map(plugin_of, [*uses, *self.entries()])))

    def result_settings(self) -> dict[str, Json]:
        """The recipe without its runtime and execution: what results depend on."""
        apart = dict.fromkeys(("runtime", "slurm", "judge", *COMPARED), True)
        chosen: dict[str, Any] = {**apart, "train": set(Execution.model_fields), "suite": {"summary"}}
        return {**self.model_dump(mode="json", exclude=chosen), **self.judged_by()}

    def judged_by(self) -> dict[str, Json]:
        """`judge`, as far as results are concerned; nothing where nobody judges."""
        if self.judge is None:
            return {}
        return {"judge": self.judge if self.judge == "later" else self.judge.settings().model_dump(mode="json")}


def named_model(text: str) -> dict[str, str | None]:
    """Id and revision of `ORG/NAME@REVISION`, or of a folder; id and address of `NAME@http://HOST/v1`."""
    if served := _SERVED.fullmatch(text):
        return {"id": served["name"], "revision": None, "base_url": served["url"]}
    name, _, revision = (text, "", "") if Path(text).is_dir() else text.partition("@")
    return {"id": name, "revision": revision or None}


def model_of(recipe: Recipe, own: str) -> ModelSettings:
    """The model that an arm starts from: the recipe's, or its `own` in that one's place."""
    return recipe.model.model_copy(update={**named_model(own), "init": None}) if own else recipe.model


def recipe_of(recipe: Recipe, data: Mapping[str, Json]) -> Recipe:
    """The recipe as an arm trains by it: with its own `data`, if it has any, in place of the recipe's.

    Raises UserError for datasets that cannot be described so.
    """
    return _validated({**recipe.model_dump(mode="json"), "data": data}) if data else recipe


def is_plugin(source: str) -> bool:
    """Whether a source text names a plug-in (`gsm8k`, `./own.py:riddles`) rather than a data file or a hub id."""
    return plugin_of(source).endswith(".py") or ("/" not in source and not Path(source).suffix)


def plugin_of(source: str) -> str:
    """`playground` of `playground:playground_code`."""
    return source.partition(":")[0]


# --- reading -------------------------------------------------------------------------------------------------------


def load(recipe: str | None, settings: Sequence[Setting] = (), arms: Sequence[str] = ()) -> Recipe:
    """The recipe of a file or of an embedded name (None: the playground), with the run-wide settings applied.

    `arms` are the run's `--plugins`: files among them, and among the recipe's data and benchmarks, can be given options
    like installed plug-ins. Settings of plug-ins hold over the recipe's `options`.
    """
    return resolved(read_extended(recipe or DEFAULT, PACKAGE, "recipe"), settings, arms)


def resolved(raw: dict[str, Any], settings: Sequence[Setting] = (), arms: Sequence[str] = ()) -> Recipe:
    """As `load`, for a recipe that stands in no file."""
    shared = [setting for setting in settings if setting.arm is None]
    for setting in shared:
        if setting.path[0] in Recipe.model_fields:
            _apply(raw, setting, ())
    _choose_declaration(raw, {setting.path[0] for setting in shared})
    whole = _validated({**raw, "options": {}})
    loaded = [p for text in arms or whole.arms for p in methods(text)] + _named(whole)
    from_files = {p.plugin.name: p for p in loaded if p.path is not None}
    for setting in shared:
        if setting.path[0] not in Recipe.model_fields:
            _apply(raw, setting, (*installed(), *from_files))
    resolved = _validated(raw)
    for name, values in resolved.options.items():
        validated((from_files.get(name) or load_plugin(name)).plugin, values)
    return resolved


def _choose_declaration(raw: dict[str, Any], written: Collection[str]) -> None:
    """A suite on the command line replaces the recipe's benchmarks, and the other way round; a name becomes a suite."""
    for one, other in (("suite", "benchmarks"), ("benchmarks", "suite")):
        if one in written and other not in written:
            raw.pop(other, None)
    if isinstance(raw.get("suite"), str):
        raw["suite"] = suite = read_suite(raw["suite"])
        own = raw.get("options") or {}
        raw["options"] = {**own, **{name: {**of, **own.get(name, {})} for name, of in suite.options.items()}}


def _validated(raw: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except pydantic.ValidationError as error:
        raise option_error(error, Recipe) from None


def _named(recipe: Recipe) -> list[LoadedPlugin]:
    """The plug-ins of the recipe's data and benchmarks; a name that nobody has is said to be what it stands for."""
    for name in recipe.plugin_names():
        what = "benchmark" if name in map(plugin_of, recipe.entries()) else "dataset"
        if not is_file_plugin(name) and name not in installed():
            raise unknown_plugin(name, what)
    return [load_plugin(name) for name in recipe.plugin_names()]


def _apply(raw: dict[str, Any], setting: Setting, plugins: Sequence[str]) -> None:
    """Set one value in the raw recipe; a first part that is a plug-in's name reaches that plug-in's options."""
    head = setting.path[0]
    if head in Recipe.model_fields:
        path = setting.path
    elif head in plugins:
        path = ("options", *setting.path)
    else:
        raise unknown_setting(setting.path, Recipe, plugins)
    if head == "data" and len(path) > len(("data", "ROLE")):
        raw["data"] = {role: _uses(value) for role, value in (raw.get("data") or {}).items()}
    put(raw, path, setting.value)


def _uses(value: Any) -> Any:
    """A role's datasets, each with keys of its own, however they are written."""
    listed = _to_list(value)
    return [{"source": use} if isinstance(use, str) else use for use in listed] if isinstance(listed, list) else listed
