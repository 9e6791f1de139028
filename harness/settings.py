"""Settings as people write them: YAML, `--set` and `--seeds`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from harness.discovery import suggestion
from harness.errors import UserError


class Yaml(yaml.SafeLoader):
    """YAML as people write it: `1e-4` is a number, and a key that stands twice is an error."""


Yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+"), list("-+0123456789"))


def _unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key is no word", problem_mark=key.start_mark)
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


Yaml.add_constructor("tag:yaml.org,2002:map", _unique_keys)


def shipped(package: str) -> dict[str, str]:
    """Name to text of the YAML files that come with a package of data."""
    found = {item.name: item for item in files(package).iterdir()}
    return {
        name.removesuffix(".yaml"): item.read_text(encoding="utf-8")
        for name, item in found.items()
        if name.endswith(".yaml")
    }


def read_yaml(name: str, package: str, what: str) -> dict[str, Any]:
    """The mapping in the YAML file of that path, or in the one of that name that ships in `package`.

    `what` is what such a file is called. Raises UserError where there is none, or it holds no mapping.
    """
    path, embedded = Path(name), shipped(package)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the {what} {name}: {error}", "give a YAML file in UTF-8") from None
    elif name in embedded:
        text = embedded[name]
    else:
        raise UserError(f"there is no {what} {name}", f"give a YAML file; {suggestion(name, tuple(embedded))}")
    try:
        raw = yaml.load(text, Yaml)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(f"{name}{line} is no YAML: {getattr(error, 'problem', error)}", "repair the file") from None
    if not isinstance(raw, dict):
        raise UserError(f"{name} holds no {what}", f"a {what} is a mapping; see docs/recipes.md")
    return raw


EXTENDS = "extends"
"""Names the file that another is written on top of."""


def read_extended(name: str, package: str, what: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """As `read_yaml`, over the file that this one `extends`, if it names one: mappings are joined key by key.

    That file lies beside this one, or where it is named from here, or ships. A null takes an inherited mapping away.
    """
    raw = read_yaml(name, package, what)
    under = raw.pop(EXTENDS, None)
    if under is None:
        return raw
    beside = Path(name).parent / str(under)
    found = os.path.normpath(beside) if beside.is_file() else under
    if not isinstance(under, str) or found in (*above, os.path.normpath(name)):
        raise UserError(f"{name} cannot extend {under}", f"name one other {what}: a file, or one that ships")
    return _joined(read_extended(found, package, what, (*above, os.path.normpath(name))), raw)


def _joined(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    inherited = {name: value for name, value in under.items() if isinstance(value, Mapping)}
    both = {
        name: _joined(inherited[name], value)
        for name, value in over.items()
        if isinstance(value, Mapping) and name in inherited
    }
    gone = {name for name, value in over.items() if value is None and name in inherited}
    return {name: value for name, value in {**under, **over, **both}.items() if name not in gone}


@dataclass(frozen=True)
class Setting:
    """One `--set`: an arm where it is for that arm alone, a dotted key, a YAML value."""

    arm: str | None
    path: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        """The setting as it is written, `dmt.k`."""
        return ".".join(self.path)

    @classmethod
    def parse(cls, text: str) -> Setting:
        """`train.lr=1e-4`, `dmt.k=1/256` or `dmt+im:train.lr=1e-4`."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {text}: a key and a value are wanted", "write --set train.lr=1e-4")
        arm, path = _target(key, f"--set {text}", "write --set ARM:train.lr=1e-4")
        try:
            parsed = yaml.load(value, Yaml) if value.strip() else ""  # noqa: S506 (a safe loader)
        except yaml.YAMLError:
            raise UserError(f"--set {text}: the value is no YAML", "quote it") from None
        return cls(arm, path, parsed)

    @classmethod
    def seeds(cls, text: str) -> Setting:
        """`--seeds 3` is the seeds 0, 1 and 2; `--seeds 4,7` is those two, and `--seeds 7,` that one."""
        try:
            numbers = [int(part) for part in text.removesuffix(",").split(",")]
        except ValueError:
            raise UserError(
                f"--seeds {text}: a number of seeds or a list of them is wanted", "write --seeds 3"
            ) from None
        if "," in text:
            return cls(None, ("seeds",), numbers)
        if numbers[0] < 1:
            raise UserError(
                f"--seeds {text}: a run has at least one seed", "write --seeds 1; --seeds 0, is the seed 0 alone"
            )
        return cls(None, ("seeds",), list(range(numbers[0])))


@dataclass(frozen=True)
class Sweep:
    """One `--sweep`, or one line of a recipe's `sweep`: a setting, and the values of which each makes an arm."""

    arm: str | None
    """None: of every arm that has the setting."""
    path: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The setting as it is written, `dmt.k`."""
        return ".".join(self.path)

    @property
    def key(self) -> str:
        """The setting with the arm it is for, `dmt+im:dmt.k`."""
        return self.name if self.arm is None else f"{self.arm}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """`dmt.k=0,1/256,1/16`, or `dmt+im:train.lr=1e-4,1e-3`; a value that is a list stands in brackets."""
        key, equals, written = text.partition("=")
        if not equals or not key.strip() or not written.strip():
            raise UserError(f"--sweep {text}: a setting and its values are wanted", "write --sweep dmt.k=0,1/256,1/16")
        try:
            values = yaml.load(f"[{written}]", Yaml)  # noqa: S506 (a safe loader)
        except yaml.YAMLError:
            raise UserError(f"--sweep {text}: the values are no YAML", "quote those with commas or brackets") from None
        return cls.of(key, values, f"--sweep {text}")

    @classmethod
    def of(cls, key: str, values: Any, where: str = "sweep") -> Sweep:
        """Of a key `dmt.k`, or `dmt+im:train.lr` for that arm alone; one value stands for a list of it.

        `where` is what an error calls it.
        """
        arm, path = _target(key, where, "write --sweep ARM:train.lr=1e-4,1e-3")
        return cls(arm, path, tuple(values) if isinstance(values, list | tuple) else (values,))


def _target(key: str, where: str, remedy: str) -> tuple[str | None, tuple[str, ...]]:
    """The arm of `ARM:dotted.key`, None without one, and the parts of the key."""
    arm, colon, path = key.strip().rpartition(":")
    if not path or (colon and not arm):
        raise UserError(f"{where}: a key and a value are wanted", remedy)
    return arm if colon else None, tuple(path.split("."))


def put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at a path; in a list of mappings, of each. What lies on the way is copied, or made."""
    head, *rest = path
    inner = tree.get(head)
    if not rest:
        tree[head] = value
    elif isinstance(inner, list | tuple) and inner and all(isinstance(item, Mapping) for item in inner):
        tree[head] = [dict(item) for item in inner]
        for item in tree[head]:
            put(item, rest, value)
    else:
        tree[head] = dict(inner) if isinstance(inner, Mapping) else {}
        put(tree[head], rest, value)
