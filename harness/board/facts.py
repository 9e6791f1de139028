"""Parts of a row that hold whatever a job recorded, and of what kind that must be which somebody reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

Facts = dict[str, Any]

_KINDS: Mapping[type, str] = {str: "text", int: "a whole number", dict: "an object"}


def _known(**kinds: type) -> pydantic.AfterValidator:
    """What is said under these names is of that kind, or unknown; whatever is no object has no names."""

    def check(facts: Any) -> Any:
        for name, kind in kinds.items() if isinstance(facts, dict) else ():
            found = facts.get(name)
            known = isinstance(found, kind | None) and not isinstance(found, bool)
            if not known:
                raise ValueError(f"{name} is {found!r}, and not {_KINDS[kind]}")
        return facts

    return pydantic.AfterValidator(check)


def _named(facts: Facts) -> Facts:
    if not facts.get("name"):
        raise ValueError("it has no name")
    return facts


Engine = Annotated[Facts, _known(name=str), pydantic.AfterValidator(_named)]
"""An engine's name and its settings."""

Model = Annotated[Facts, _known(id=str, revision=str, content=str, server=str, init=dict, parameters=int)]
"""Where a model comes from, and what it is."""

Source = Annotated[Any, _known(hub=str, revision=str)]
"""Where data comes from: a dataset on the hub, files, or what made it."""
