"""Settings as people write them: YAML, `--set` and `--seeds`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

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


@dataclass(frozen=True)
class Setting:
    """One `--set`: an arm where it is for that arm alone, a dotted key, a YAML value."""

    arm: str | None
    path: tuple[str, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> Setting:
        """`train.lr=1e-4`, `dmt.k=1/256` or `dmt+im:train.lr=1e-4`."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {text}: a key and a value are wanted", "write --set train.lr=1e-4")
        arm, colon, path = key.strip().rpartition(":")
        if not path or (colon and not arm):
            raise UserError(f"--set {text}: a key and a value are wanted", "write --set ARM:train.lr=1e-4")
        try:
            parsed = yaml.load(value, Yaml) if value.strip() else ""  # noqa: S506 (a safe loader)
        except yaml.YAMLError:
            raise UserError(f"--set {text}: the value is no YAML", "quote it") from None
        return cls(arm if colon else None, tuple(path.split(".")), parsed)

    @classmethod
    def seeds(cls, text: str) -> Setting:
        """`--seeds 3` is the seeds 0, 1 and 2; `--seeds 4,7` is those two."""
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            raise UserError(
                f"--seeds {text}: a number of seeds or a list of them is wanted", "write --seeds 3"
            ) from None
        chosen = numbers if "," in text else list(range(numbers[0]))
        return cls(None, ("seeds",), chosen)
