"""What the user said of one arm: its plug-ins, their options, and the training settings that hold for it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pydantic

from harness.api import Plugin
from harness.arms import validated
from harness.armspec import ArmSpec
from harness.canonical import Json
from harness.discovery import methods, suggestion, written_parts
from harness.errors import UserError
from harness.execution import Execution
from harness.jobs import TrainSettings
from harness.modelfolder import model_folder
from harness.recipe import Recipe, named_model, recipe_of
from harness.settings import Setting, put
from harness.wrongsettings import option_error

COMMON = ("train", "data")
"""What an arm can have of its own beside the options of its plug-ins."""


def arm_spec(text: str, recipe: Recipe, settings: Sequence[Setting] = (), swept: Sequence[Setting] = ()) -> ArmSpec:
    """The arm of one `--plugins`: names joined by commas, each with options of its own if wished (`im,dmt:k=1/4`).

    `--set ARM:key=value` reaches the arm of that id; `train.x`, `data.ROLE.x` and options of its plug-ins can be
    set so. What a sweep gave stands in the arm's id, also where it is what the recipe says for all.
    """
    plugins = {p.plugin.name: p.plugin for p in methods(text)}
    if not plugins:
        raise UserError("--plugins names no plug-in", "write --plugins im,dmt")
    plain = ArmSpec(tuple(sorted({p.path or p.plugin.name for p in methods(text)})))
    written = [
        Setting.parse(f"{plugin.plugin.name}.{assignment}")
        for part, plugin in zip(written_parts(text), methods(text), strict=True)
        for assignment in part.split(":")[1:]
    ]
    named = [setting for setting in settings if setting.arm is not None and same_arm(setting.arm, plain.id)]
    given = [*written, *named, *swept]
    for setting in given:
        _check_place(setting, plain.id, plugins, recipe)
    _refuse_twice(plain.id, [*written, *named], swept)
    usual, mine = _settings(recipe, plugins, plain.id), _settings(recipe, plugins, plain.id, given)
    shared = {name: dict(values) for name, values in recipe.options.items()}
    options = {name: {**shared.get(name, {}), **own} for name in plugins if (own := _changed(usual[name], mine[name]))}
    paths = {setting.name: setting.path for setting in given}
    names = tuple(dict.fromkeys(setting.name for setting in swept))
    values = {name: (_at(usual, path), _at(mine, path)) for name, path in paths.items()}
    return replace(
        plain,
        options={**shared, **options},
        train=_changed(usual["train"], mine["train"]),
        data=mine["data"] if mine["data"] != usual["data"] else {},
        own={name: value for name, (before, value) in values.items() if name in names or value != before},
        swept=names,
    )


def _refuse_twice(arm: str, own: Sequence[Setting], swept: Sequence[Setting]) -> None:
    """Raises UserError for a swept value that would take the place of another that was asked for."""
    paths = [setting.path for setting in own]
    for setting in swept:
        if setting.path in paths:
            how = "swept, and set for it" if setting.path in {one.path for one in own} else "swept twice"
            raise UserError(f"{setting.name} of {arm} is {how}", "leave one of them away")
        paths.append(setting.path)


def _check_place(setting: Setting, arm: str, plugins: Mapping[str, Plugin], recipe: Recipe) -> None:
    """Raises UserError for what is the same for all arms, and for a role without data."""
    head, *rest = setting.path
    if head not in (*COMMON, *plugins) or not rest:
        raise UserError(
            f"{setting.name!r} cannot be set for {arm} alone",
            f"what can: train.<setting>, data.<role>, and options of {', '.join(plugins)}",
        )
    if head == "data" and rest[0] not in recipe.data:
        raise UserError(f"{setting.name}: the recipe has no data in that role", suggestion(rest[0], tuple(recipe.data)))


def _settings(
    recipe: Recipe, plugins: Mapping[str, Plugin], arm: str, given: Sequence[Setting] = ()
) -> dict[str, dict[str, Json]]:
    """An arm's `train`, `data` and options by plug-in as JSON, defaults included, with the `given` in their places.

    Raises UserError for a value that will not do.
    """
    usual = recipe.train.settings()
    tree: dict[str, Any] = {
        "train": usual.model_dump(mode="json"),
        "data": recipe.model_dump(mode="json")["data"],
        **{name: dict(recipe.options.get(name, {})) for name in plugins},
    }
    for setting in given:
        put(tree, setting.path, setting.value)
    trained = {setting.path[1]: tree["train"][setting.path[1]] for setting in given if setting.path[0] == "train"}
    own_data = any(setting.path[0] == "data" for setting in given)
    return {
        "train": overridden(usual, trained, arm).model_dump(mode="json"),
        "data": recipe_of(recipe, tree["data"]).model_dump(mode="json")["data"] if own_data else tree["data"],
        **{name: validated(plugin, tree[name]).model_dump(mode="json") for name, plugin in plugins.items()},
    }


def _at(tree: Json, path: Sequence[str]) -> Json:
    """The value of a setting; of a role's datasets that of each, or the one that all have."""
    for n, part in enumerate(path):
        if isinstance(tree, list):
            values = [_at(item, path[n:]) for item in tree]
            return values[0] if all(value == values[0] for value in values) else values
        tree = None if tree is None else tree.get(part)
    return "+".join(use["source"] for use in tree) if path[0] == "data" and isinstance(tree, list) else tree


def model_arms(models: Sequence[str], recipe: Recipe) -> tuple[ArmSpec, ...]:
    """An arm without training for each model, called like it: a hub id as written, a folder and a server's by name.

    Raises UserError for a folder that is not there, and for two models of one name.
    """
    options = {name: dict(values) for name, values in recipe.options.items()}
    arms: dict[str, ArmSpec] = {}
    for model in models:
        served = named_model(model).get("base_url") is not None
        folder = None if served else model_folder(model)
        name = folder.resolve().name if folder else str(named_model(model)["id"]) if served else model
        if name in arms:
            raise UserError(f"two models are called {name!r}", "evaluate one of them apart, or rename its folder")
        arms[name] = ArmSpec(("base",), options, model=str(folder or model), name=name)
    return tuple(arms.values())


def _changed(before: Mapping[str, Json], after: Mapping[str, Json]) -> dict[str, Json]:
    """The values that differ; some are left out where they are none."""
    return {name: after.get(name) for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)}


def same_arm(written: str, arm: str) -> bool:
    """Whether a text that a person wrote, `im,dmt`, names the arm `dmt+im`."""
    return sorted(written.replace(",", "+").split("+")) == sorted(arm.split("+"))


def overridden(train: TrainSettings, changes: Mapping[str, Any], who: str) -> TrainSettings:
    """Training settings with some replaced; an unknown or wrong one is an error that names it."""
    common = next((name for name in changes if name in Execution.model_fields), None)
    if common is not None:
        raise UserError(f"{who}: train.{common} is the same for all arms and stages", f"write --set train.{common}=...")
    try:
        return TrainSettings.model_validate({**train.model_dump(), **changes})
    except pydantic.ValidationError as error:
        raised = option_error(error, TrainSettings, "train")
        raise UserError(f"{who}: {raised.problem}", raised.remedy) from None
