"""What the user said of one arm: its plug-ins, their options, and the training settings that hold for it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic

from harness.arms import ArmSpec, validated
from harness.canonical import Json, canonical
from harness.discovery import methods, written_parts
from harness.errors import UserError
from harness.execution import Execution
from harness.jobs import TrainSettings
from harness.recipe import Recipe, named_model
from harness.settings import Setting, option_error


def arm_spec(text: str, recipe: Recipe, settings: Sequence[Setting] = ()) -> ArmSpec:
    """The arm of one `--plugins`: names joined by commas, each with options of its own if wished (`im,dmt:k=1/4`).

    `--set ARM:key=value` reaches the arm of that id; `train.x` and the options of its plug-ins may be set so.
    """
    plugins = {p.plugin.name: p for p in methods(text)}
    if not plugins:
        raise UserError("--plugins names no plug-in", "write --plugins im,dmt")
    plain = ArmSpec(tuple(sorted({p.path or p.plugin.name for p in plugins.values()})))
    own = [
        Setting.parse(f"{plugin.plugin.name}.{assignment}")
        for part, plugin in zip(written_parts(text), methods(text), strict=True)
        for assignment in part.split(":")[1:]
    ]
    own += [setting for setting in settings if setting.arm is not None and _same_arm(setting.arm, plain.id)]
    changes: dict[str, dict[str, Any]] = {}
    for setting in own:
        head, *rest = setting.path
        if (head != "train" and head not in plugins) or len(rest) != 1:
            raise UserError(
                f"{'.'.join(setting.path)!r} cannot be set for {plain.id} alone",
                f"what can: train.<setting>, and options of {', '.join(plugins)}",
            )
        changes.setdefault(head, {})[rest[0]] = setting.value
    usual = recipe.train.settings()
    train = _changed(usual, overridden(usual, changes.pop("train", {}), plain.id))
    options = {name: dict(values) for name, values in recipe.options.items()}
    suffix = {f"train.{name}": value for name, value in train.items()}
    for name, values in changes.items():
        plugin, shared = plugins[name].plugin, recipe.options.get(name, {})
        mine = _changed(validated(plugin, shared), validated(plugin, {**shared, **values}))
        options[name] = {**shared, **mine}
        suffix |= {f"{name}.{option}": value for option, value in mine.items()}
    words = (f"{name}={value if isinstance(value, str) else canonical(value)}" for name, value in suffix.items())
    return replace(plain, options=options, train=train, suffix=",".join(sorted(words)))


def model_arms(models: Sequence[str], recipe: Recipe) -> tuple[ArmSpec, ...]:
    """An arm without training for each model, called like it: a hub id as written, a folder and a server's by name.

    Raises UserError for a folder that is not there, and for two models of one name.
    """
    options = {name: dict(values) for name, values in recipe.options.items()}
    arms: dict[str, ArmSpec] = {}
    for model in models:
        served = named_model(model).get("base_url") is not None
        folder = Path(model).expanduser()
        if not served and not folder.is_dir() and model.startswith((".", "/", "~")):
            raise UserError(f"there is no model folder {model}", "give a folder with config.json, or a hub id")
        name = str(named_model(model)["id"]) if served else folder.resolve().name if folder.is_dir() else model
        if name in arms:
            raise UserError(f"two models are called {name!r}", "evaluate one of them apart, or rename its folder")
        arms[name] = ArmSpec(("base",), options, model=str(folder) if folder.is_dir() else model, name=name)
    return tuple(arms.values())


def _changed(before: pydantic.BaseModel, after: pydantic.BaseModel) -> dict[str, Json]:
    """The values that differ, as JSON."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {name: value for name, value in new.items() if value != old[name]}


def _same_arm(written: str, arm: str) -> bool:
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
