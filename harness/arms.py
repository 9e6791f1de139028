"""Arms: the rules of composition, and one plug-in manager per arm.

An arm is the methods named together after one `--plugins`. Two providers of one single slot are an error that names
both; `pluggy` alone would silently take the last one registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pluggy
import pydantic

from harness import spec
from harness.api import Arm, DataInfo, DataSource, Evaluator, Loss, Merger, Options, Plugin, Stage, dpo
from harness.armspec import FALLBACK, ArmSpec
from harness.canonical import Json
from harness.discovery import GROUP, SINGLE, LoadedPlugin, implementation, load_plugin, suggestion
from harness.errors import HarnessError, UserError
from harness.wrongsettings import option_error

STARTS = ("base", "previous")
"""What a stage can start from besides an earlier stage; no stage is called so."""


@dataclass(frozen=True)
class BoundArm:
    """An arm with its plug-ins registered: the one place where hooks are called."""

    spec: ArmSpec
    arm: Arm
    plugins: tuple[LoadedPlugin, ...]
    manager: pluggy.PluginManager = field(repr=False)

    def methods(self) -> tuple[LoadedPlugin, ...]:
        """The plug-ins named for the arm, without data sources, benchmarks and the fallback."""
        named = {load_plugin(name).plugin.name for name in self.spec.methods}
        return tuple(p for p in self.plugins if p.plugin.name in named)

    def sources(self) -> dict[str, tuple[DataSource, LoadedPlugin]]:
        """Datasets by name, each with the plug-in that offers it."""
        found: dict[str, tuple[DataSource, LoadedPlugin]] = {}
        for loaded, offered in self._collect("data_source"):
            if not isinstance(offered, Mapping):
                raise _wrong_kind(loaded, "data_source", offered)
            for name, source in offered.items():
                if not (isinstance(name, str) and isinstance(source, DataSource)):
                    raise _wrong_kind(loaded, "data_source", source if isinstance(name, str) else name)
                if name in found:
                    raise _two("dataset", name, found[name][1], loaded)
                found[name] = (source, loaded)
        return found

    def evaluators(self) -> dict[str, tuple[Evaluator, LoadedPlugin]]:
        """Benchmarks by name, each with the plug-in that offers it."""
        found: dict[str, tuple[Evaluator, LoadedPlugin]] = {}
        for loaded, offered in self._collect("evaluator"):
            if not isinstance(offered, list | tuple):
                raise _wrong_kind(loaded, "evaluator", offered)
            for evaluator in offered:
                if not isinstance(evaluator, Evaluator):
                    raise _wrong_kind(loaded, "evaluator", evaluator)
                if evaluator.name in found:
                    raise _two("benchmark", evaluator.name, found[evaluator.name][1], loaded)
                found[evaluator.name] = (evaluator, loaded)
        return found

    def loss(self) -> Loss:
        """The arm's loss, wrappers around it."""
        loss: Loss = self._single("loss_fn", (Loss,), arm=self.arm)
        return loss

    def loss_of(self, stage: Stage) -> Loss:
        """What a stage minimises: its own loss, the arm's, or for preference pairs `dpo()`.

        Raises UserError where the loss does not go with the stage's objective.
        """
        paired = stage.objective == "dpo"
        loss = stage.loss or (dpo() if paired else self.loss())
        if paired != (loss.per_pair is not None):
            raise UserError(
                f"the loss of stage {stage.name!r} of {self.arm.id} is not one of the objective {stage.objective}",
                "a loss of preference pairs has `per_pair`, such as dpo(beta), and the objective dpo; no other does",
            )
        return loss

    def stages(self, data: Mapping[str, DataInfo]) -> tuple[Stage, ...]:
        """The strategy's stages, checked: distinct names, and starts that exist."""
        stages = tuple(self._single("strategy", (list, tuple), arm=self.arm, data=data))
        seen: list[str] = []
        for stage in stages:
            if stage.start not in {*STARTS, *seen}:
                raise UserError(
                    f"stage {stage.name!r} of {self.arm.id} starts from {stage.start!r}, which is no earlier stage",
                    suggestion(stage.start, [*STARTS, *seen]),
                )
            if stage.name in STARTS:
                raise UserError(
                    f"{self.arm.id} has a stage called {stage.name!r}, which is what stages start from",
                    "rename the stage, or the dataset that it is called after",
                )
            if stage.name in seen:
                raise UserError(f"{self.arm.id} has two stages called {stage.name!r}", "give every stage its own name")
            seen.append(stage.name)
        return stages

    def merger(self, stages: Sequence[Stage]) -> Merger:
        """What becomes of the stages' models."""
        merger: Merger = self._single("merger", (Merger,), arm=self.arm, stages=stages)
        return merger

    def makers(self, hook: str) -> list[dict[str, Json]]:
        """Who makes a single hook's value: the provider and its wrappers, with versions and options. Enters keys."""
        return [{"plugin": loaded.stamp(), "options": self.options_of(loaded)} for loaded in self._makers(hook)]

    def owner(self, kind: type[object]) -> LoadedPlugin:
        """The plug-in whose code a class is. Raises UserError for a class of nobody's."""
        for loaded in self.plugins:
            name = loaded.module.__name__
            if kind.__module__ == name or kind.__module__.startswith(f"{name}."):
                return loaded
        raise UserError(
            f"{kind.__name__} of {kind.__module__} belongs to no plug-in of {self.arm.id}",
            "define it in the plug-in that uses it",
        )

    def options_of(self, loaded: LoadedPlugin) -> dict[str, Json]:
        """A plug-in's options as JSON, defaults included."""
        kind = loaded.plugin.options
        return self.arm.options(kind).model_dump(mode="json") if kind else {}

    def _makers(self, hook: str) -> list[LoadedPlugin]:
        """The provider of a single hook, then its wrappers."""
        candidates = _candidates(self.plugins, self.spec)
        return [_providers(candidates, hook)[0], *(p for p in candidates if p.wraps(hook))]

    def _collect(self, hook: str) -> Iterator[tuple[LoadedPlugin, Any]]:
        for loaded in self.plugins:
            if implementation(loaded.module, hook) is None:
                continue
            with _blamed(repr(loaded.plugin.name), hook):
                offered = getattr(loaded.module, hook)(arm=self.arm)
            if offered is None:
                raise _returned_none(repr(loaded.plugin.name), hook)
            yield loaded, offered

    def _single(self, hook: str, kinds: tuple[type[Any], ...], **arguments: object) -> Any:
        makers = self._makers(hook)
        # All others step aside: pluggy would pass over a provider's None and take a fallback's value silently.
        aside = [p.module for p in self.plugins if p not in makers]
        who = " wrapped by ".join(repr(p.plugin.name) for p in makers)
        with _blamed(who, hook):
            value = self.manager.subset_hook_caller(hook, remove_plugins=aside)(**arguments)
        if value is None:
            raise _returned_none(who, hook)
        if not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise UserError(
                f"the plug-in {who} returned {type(value).__name__} from {hook}, and {wanted} is wanted",
                f"see the docstring of harness.spec.{hook}",
            )
        return value


@contextmanager
def _blamed(plugin: str, hook: str) -> Iterator[None]:
    """Whatever a plug-in's hook raises is reported as that plug-in's; what it says in words stands as it is."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise UserError(
            f"the plug-in {plugin} fails in {hook}: {type(error).__name__}: {error}", "mend it; --debug shows where"
        ) from error


def _returned_none(plugin: str, hook: str) -> UserError:
    return UserError(f"the plug-in {plugin} returned None from {hook}", f"return a value, or do not implement {hook}")


_WANTED = {
    "data_source": ("a mapping of names to DataSource", 'return {"name": DataSource(...)}'),
    "evaluator": ("a list of Evaluator", 'return [Evaluator("name", "strict-1", task=LmEvalTask(...))]'),
}


def _wrong_kind(loaded: LoadedPlugin, hook: str, value: object) -> UserError:
    wanted, remedy = _WANTED[hook]
    return UserError(
        f"{hook} of {loaded.plugin.name!r} returned {type(value).__name__}, and {wanted} is wanted", remedy
    )


def _two(what: str, name: str, one: LoadedPlugin, other: LoadedPlugin) -> UserError:
    return UserError(
        f"the {what} {name!r} is offered by {one.plugin.name!r} ({one.distribution}) "
        f"and {other.plugin.name!r} ({other.distribution})",
        "name only one of the two plug-ins in a run",
    )


def bind(arm: ArmSpec, extras: Sequence[str] = ()) -> BoundArm:
    """Register the arm's methods, `extras` (its data sources and benchmarks) and the fallback, in sorted order.

    Raises UserError where two plug-ins provide one single hook, and for options that do not validate.
    """
    loaded: dict[str, LoadedPlugin] = {}
    for item in map(load_plugin, dict.fromkeys([*arm.methods, *extras, FALLBACK])):
        other = loaded.setdefault(item.plugin.name, item)
        if other is not item:
            raise UserError(
                f"{other.distribution} and {item.distribution} both bring a plug-in called {item.plugin.name!r}",
                "give the one from a file another PLUGIN.name",
            )
    plugins = tuple(loaded[name] for name in sorted(loaded))
    chosen: dict[str, str] = {}
    for hook in SINGLE:
        providers = _providers(_candidates(plugins, arm), hook)
        if len(providers) > 1:
            rivals = [p.plugin.name for p in providers]
            raise UserError(
                f"{' and '.join(map(repr, rivals))} both provide {hook}, and an arm has one",
                f"compare them as two arms: {' '.join(f'--plugins {name}' for name in rivals)}",
            )
        chosen[hook] = providers[0].plugin.name
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(spec)
    settings: dict[type[Options], Options] = {}
    for item in plugins:
        manager.register(item.module, name=item.plugin.name)
        if item.plugin.options is not None:
            if item.plugin.options in settings:
                raise UserError(
                    f"the plug-in {item.plugin.name!r} shares its options class with another of this arm",
                    f"give it a class of its own, if only a subclass of {item.plugin.options.__name__}",
                )
            settings[item.plugin.options] = validated(item.plugin, arm.options.get(item.plugin.name, {}))
    manager.check_pending()
    names = tuple(sorted(load_plugin(name).plugin.name for name in arm.methods))
    return BoundArm(arm, Arm(arm.id, names, settings, chosen), plugins, manager)


def _candidates(plugins: Sequence[LoadedPlugin], arm: ArmSpec) -> list[LoadedPlugin]:
    """Who may make the arm's loss, strategy and merger: its methods and the fallback, never a source or benchmark."""
    named = {load_plugin(name) for name in (*arm.methods, FALLBACK)}
    return [p for p in plugins if p in named]


def _providers(candidates: Sequence[LoadedPlugin], hook: str) -> list[LoadedPlugin]:
    """Those of the highest rank: outright providers, then fallbacks, then the harness's own fallback."""
    ranks = (
        [p for p in candidates if p.fills(hook)],
        [p for p in candidates if p.falls_back(hook) and p.plugin.name != FALLBACK],
        [p for p in candidates if p.falls_back(hook)],
    )
    return next(rank for rank in ranks if rank)


def validated(plugin: Plugin, values: Mapping[str, Json]) -> Options:
    """A plug-in's options from what the user set; a wrong one is an error that names it."""
    kind = plugin.options or Options
    try:
        return kind.model_validate(dict(values))
    except pydantic.ValidationError as error:
        raise option_error(error, kind, plugin.name) from None
