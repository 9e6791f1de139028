"""An arm as it is asked for: its methods, and what is set for it alone. Its id is made of both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.canonical import Json, canonical
from harness.discovery import load_plugin

FALLBACK = "sft"
"""Completes every arm with the default loss, strategy and merger."""

_WHOLE = re.compile(r"(?<=^\d)/1$")
"""What is left away of a fraction that is 0 or 1."""


@dataclass(frozen=True)
class ArmSpec:
    """What the user asked for: method plug-ins, and what is set for this arm alone. JSON-able: workers get it too."""

    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Plug-in name to options, the recipe's and the arm's own together."""
    train: Mapping[str, Json] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)
    """The arm's own datasets by role; empty: the recipe's."""
    own: Mapping[str, Json] = field(default_factory=dict)
    """What distinguishes the arm from its names alone, setting to value: `dmt.k` to `1/4`."""
    swept: tuple[str, ...] = ()
    """Those of them that a sweep gave."""
    matched: str = ""
    """For a baseline with another arm's budget: that arm's id."""
    model: str = ""
    """The arm's own starting model, `ORG/NAME@REVISION` or a folder; empty: the recipe's."""
    name: str = ""
    """What the arm is called where it is no composition of methods: its model's name."""

    @property
    def id(self) -> str:
        """Sorted names joined by `+`, then the options that are this arm's own; or its own name."""
        if self.name:
            return self.name
        names = "+".join(sorted(load_plugin(name).plugin.name for name in self.methods if name != FALLBACK)) or FALLBACK
        words = sorted(f"{name}={shown(value)}" for name, value in self.own.items())
        own = f"{names}@{','.join(words)}" if words else names
        return f"{own}~{self.matched}" if self.matched else own

    @property
    def training(self) -> dict[str, Json]:
        """What was swept of training and data, which every method has."""
        return {name: self.own[name] for name in self.swept if name.partition(".")[0] in {"train", "data"}}

    def untrained(self) -> ArmSpec:
        """The arm without what was swept of training and data."""
        return replace(self.without(*self.training), train={}, data={})

    def without(self, *settings: str) -> ArmSpec:
        """The arm by its id without some of its own settings: what it has in common with others."""
        own = {name: value for name, value in self.own.items() if name not in settings}
        return replace(self, own=own, swept=tuple(name for name in self.swept if name in own))

    def to_json(self) -> dict[str, Json]:
        """The inverse of `from_json`."""
        return {
            "methods": list(self.methods),
            "options": {name: dict(values) for name, values in self.options.items()},
            "train": dict(self.train),
            "data": dict(self.data),
            "own": dict(self.own),
            "swept": list(self.swept),
            "matched": self.matched,
            "model": self.model,
            "name": self.name,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> ArmSpec:
        """The arm a worker is told to work for."""
        return cls(**{**value, **{name: tuple(value[name]) for name in ("methods", "swept")}})


def shown(value: Json) -> str:
    """A setting's value in an arm's id: `1/16`, `0` for the fraction 0/1, `0.001`, `paper`."""
    return _WHOLE.sub("", value) if isinstance(value, str) else canonical(value)
