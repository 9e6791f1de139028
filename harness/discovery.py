"""From a plug-in's name to its checked module: entry points, files, and the rules every plug-in keeps.

Nothing is loaded but what a run names. A rule that is broken is an error that names the distribution, before anything
heavy is imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness import spec
from harness.api import API_VERSION, Plugin
from harness.canonical import Json, digest, file_digest
from harness.errors import UserError

GROUP = "harness"
"""The entry-point group in which distributions announce their plug-ins."""

SHIPPED = "harness.plugins"
"""The package of the plug-ins that come with the harness."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""Names that can stand in an arm's id, in a setting and in a list of plug-ins without being misread."""

HOOKS: Mapping[str, Callable[..., Any]] = {
    name: hook for name, hook in vars(spec).items() if getattr(hook, "harness_spec", None) is not None
}
SINGLE = tuple(name for name, hook in HOOKS.items() if hook.harness_spec["firstresult"])  # type: ignore[attr-defined]
"""Hooks that take one provider."""


KINDS: Mapping[str, Callable[[LoadedPlugin], bool]] = {
    "dataset": lambda plugin: "data_source" in plugin.slots,
    "benchmark": lambda plugin: "evaluator" in plugin.slots,
    "method": lambda plugin: not {"data_source", "evaluator"}.issuperset(plugin.slots),
    "merger": lambda plugin: plugin.fills("merger"),
}
"""What plug-ins offer, and whether one does."""


def suggestion(name: str, known: Sequence[str]) -> str:
    """`did you mean 'im'?`, or the names there are."""
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else f"there are: {', '.join(sorted(set(known)))}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The name that is most like this one; empty where none is like it."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), "")


@dataclass(frozen=True, eq=False)
class LoadedPlugin:
    """A plug-in's module with what identifies it."""

    plugin: Plugin
    module: ModuleType = field(repr=False)
    distribution: str
    distribution_version: str
    digest: str
    """SHA-256 of the module's source, or of all of the package it lies in."""
    editable: bool
    """From a file or an editable install: its source can change under one version, so the digest enters the keys."""
    path: str | None = None
    """The file given on the command line; None for installed plug-ins."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the hooks it implements."""
        return tuple(name for name in HOOKS if implementation(self.module, name) is not None)

    def fills(self, hook: str) -> bool:
        """Whether it provides a single hook outright: neither as a fallback nor as a wrapper."""
        options = implementation(self.module, hook)
        return options is not None and not (options["trylast"] or options["wrapper"] or options["hookwrapper"])

    def falls_back(self, hook: str) -> bool:
        """Whether it provides a single hook only where nobody else does."""
        options = implementation(self.module, hook)
        return options is not None and bool(options["trylast"])

    def wraps(self, hook: str) -> bool:
        """Whether it wraps the provider of a single hook."""
        options = implementation(self.module, hook)
        return options is not None and bool(options["wrapper"] or options["hookwrapper"])

    def stamp(self) -> str:
        """`dmt 1.0`, with the source's digest where the source can change under the version."""
        text = f"{self.plugin.name} {self.plugin.version}"
        return f"{text} {self.digest}" if self.editable else text

    def provenance(self) -> dict[str, Json]:
        """What a manifest and a row record."""
        return {
            "name": self.plugin.name,
            "version": self.plugin.version,
            "distribution": self.distribution,
            "distribution_version": self.distribution_version,
            "digest": self.digest,
            "from_file": self.path is not None,
            "paper": self.plugin.paper,
        }


def implementation(module: ModuleType, hook: str) -> dict[str, Any] | None:
    """Pluggy's options of a module's implementation of a hook; None where it has none."""
    return getattr(getattr(module, hook, None), "harness_impl", None)


@cache
def _entry_points() -> Mapping[str, tuple[importlib.metadata.EntryPoint, ...]]:
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        owners = found.setdefault(point.name, [])
        # An editable install shows up twice when its source tree is on the path as well.
        if not any(_owner(point) == _owner(other) and point.value == other.value for other in owners):
            owners.append(point)
    return {name: tuple(points) for name, points in found.items()}


def _owner(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"


def installed() -> tuple[str, ...]:
    """Names of all installed plug-ins, sorted. Nothing is imported."""
    return tuple(sorted(_entry_points()))


def is_file_plugin(name: str) -> bool:
    """Whether a plug-in is named by its file (`./my_method.py`)."""
    return name.endswith(".py") or "/" in name


def offering(what: str) -> tuple[str, ...]:
    """Names of the installed plug-ins that offer such a thing, one of `KINDS`; those that do not load are left out."""

    def offers(name: str) -> bool:
        try:
            return KINDS[what](load_plugin(name))
        except UserError:
            return False

    return tuple(filter(offers, installed()))


def refuse_unknown(name: str, what: str) -> None:
    """Raises UserError where no plug-in is called so, naming what offers such a thing, one of `KINDS`; files pass."""
    if not is_file_plugin(name) and name not in installed():
        raise unknown_plugin(name, what)


def unknown_plugin(name: str, what: str = "plug-in") -> UserError:
    """Nobody is called so who offers such a thing; a file of that name in the working folder is what was meant."""
    beside = f"./{name}.py"
    if Path(beside).is_file():
        meant = f"did you mean {beside}?"
    elif what in KINDS:
        meant = suggestion(name, offering(what))
    else:
        close = nearest(name, installed())
        meant = f"did you mean {close!r}?" if close else "harness plugins lists them"
    return UserError(f"no {what} is called {name!r}", meant)


@cache
def load_plugin(name: str) -> LoadedPlugin:
    """The plug-in of that name, or in that file (`./my_method.py`), checked against the rules.

    Raises UserError for an unknown or ambiguous name, an import that fails, and a module that breaks a rule.
    """
    if is_file_plugin(name):
        return _load_file(Path(name).resolve())
    points = _entry_points().get(name, ())
    if not points:
        raise unknown_plugin(name)
    if len(points) > 1:
        owners = " and ".join(sorted(_owner(point) for point in points))
        raise UserError(f"the plug-in name {name!r} is claimed by {owners}", "uninstall one of them")
    point = points[0]
    owner = _owner(point)
    try:
        module = point.load()
    except Exception as error:
        raise UserError(
            f"the plug-in {name!r} of {owner} does not import: {type(error).__name__}: {error}",
            f"repair or uninstall {owner}",
        ) from error
    if not isinstance(module, ModuleType):
        raise UserError(f"the plug-in {name!r} of {owner} is no module", f"let its entry point name one: {point.value}")
    version = point.dist.version if point.dist else "unknown"
    return _check(module, f"{name!r} of {owner}", owner, version, editable=_is_editable(point), expected=name)


@cache
def _load_file(path: Path) -> LoadedPlugin:
    if not path.is_file():
        raise UserError(
            f"there is no plug-in file {path}", "give the path of a .py file, or an installed plug-in's name"
        )
    module_spec = importlib.util.spec_from_file_location(f"harness_file_plugin_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{path} is no Python file", "a plug-in file ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"the plug-in file {path} does not import: {type(error).__name__}: {error}", "repair it"
        ) from error
    return _check(module, f"file {path}", str(path), "file", editable=True, path=str(path))


def _is_editable(point: importlib.metadata.EntryPoint) -> bool:
    text = point.dist.read_text("direct_url.json") if point.dist else None
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))


def _check(
    module: ModuleType,
    who: str,
    owner: str,
    version: str,
    *,
    editable: bool,
    path: str | None = None,
    expected: str | None = None,
) -> LoadedPlugin:
    plugin = getattr(module, "PLUGIN", None)
    if not isinstance(plugin, Plugin):
        raise UserError(f"the plug-in {who} has no PLUGIN", 'add PLUGIN = Plugin(name="...", version="1.0")')
    if plugin.api != API_VERSION:
        raise UserError(
            f"the plug-in {who} is written for harness.api {plugin.api}, and this is {API_VERSION}",
            "install a release of it for this version of the harness",
        )
    if expected is not None and plugin.name != expected:
        raise UserError(f"the plug-in {who} calls itself {plugin.name!r}", "its entry point and PLUGIN.name must agree")
    if not _NAME.fullmatch(plugin.name):
        raise UserError(
            f"the plug-in {who} calls itself {plugin.name!r}", "use letters, digits, - and _, beginning with a letter"
        )
    for name, field_ in plugin.options.model_fields.items() if plugin.options else ():
        if field_.is_required():
            raise UserError(f"the plug-in {who} has an option without a default: {name}", "give it one")
    for name in HOOKS:
        if inspect.isfunction(getattr(module, name, None)) and implementation(module, name) is None:
            raise UserError(f"the plug-in {who} defines {name} without @hookimpl", f"put @hookimpl above def {name}")
    _check_signatures(module, who)
    return LoadedPlugin(
        plugin=plugin,
        module=module,
        distribution=owner,
        distribution_version=version,
        digest=_source_digest(module),
        editable=editable,
        path=path,
    )


def _source_digest(module: ModuleType) -> str:
    """Of the module's source and of all Python files of the package it lies in, since its hooks may call any of them.

    The shipped plug-ins lie in one package and call nothing but `harness.api`, so each stands for itself.
    """
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    if package in {"", SHIPPED}:
        return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
    root = Path(inspect.getfile(module)).parent
    return digest({str(path.relative_to(root)): file_digest(path) for path in sorted(root.rglob("*.py"))})


def _check_signatures(module: ModuleType, who: str) -> None:
    for name, function in inspect.getmembers(module, inspect.isfunction):
        options = getattr(function, "harness_impl", None)
        if options is None:
            continue
        hook = options["specname"] or name
        if hook not in HOOKS:
            raise UserError(f"the plug-in {who} implements {hook!r}, which is no hook", suggestion(hook, tuple(HOOKS)))
        if hook != name:
            raise UserError(f"the plug-in {who} implements {hook} under the name {name}", f"call the function {hook}")
        wanted = inspect.signature(HOOKS[hook]).parameters
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is not inspect.Parameter.empty:
                raise UserError(
                    f"the plug-in {who} gives {hook}'s parameter {parameter.name!r} a default, so it is never passed",
                    "remove the default",
                )
            if parameter.name not in wanted:
                raise UserError(
                    f"the plug-in {who} asks {hook} for {parameter.name!r}, which it does not get",
                    f"its parameters are: {', '.join(wanted)}",
                )


def methods(text: str) -> tuple[LoadedPlugin, ...]:
    """The plug-ins of one `--plugins`, without the options written beside their names."""
    names = [part.partition(":")[0] for part in written_parts(text)]
    for name in names:
        refuse_unknown(name, "method")
    return tuple(map(load_plugin, names))


def written_parts(text: str) -> list[str]:
    """The names of one `--plugins`, each with the options written beside it; commas in brackets part values."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
