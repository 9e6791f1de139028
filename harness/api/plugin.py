"""What a plug-in says about itself: its identity, its options, and the mark of its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, TypeVar

import pluggy
import pydantic

from harness.canonical import share

API_VERSION = 1
"""Raised when a plug-in written for an older `harness.api` would no longer do what it says."""

hookimpl = pluggy.HookimplMarker("harness")
"""Marks a function of a plug-in as the implementation of the hook of the same name (see `harness.spec`)."""


class Options(pydantic.BaseModel):
    """Base of a plug-in's options: frozen, unknown names refused. Set by `--set NAME.option=value` or in the recipe."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )


def _to_fraction(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise ValueError("a fraction such as 1/256, 0.25 or 1 is wanted")  # noqa: TRY004 (pydantic reports ValueError)
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a fraction such as 1/256, 0.25 or 1") from None


Rational = Annotated[Fraction, pydantic.BeforeValidator(_to_fraction), pydantic.PlainSerializer(share, return_type=str)]
"""An exact fraction of any size and sign, written `1/256`, `-0.25` or `3`."""

Share = Annotated[Rational, pydantic.Field(ge=0, le=1)]
"""An exact fraction between 0 and 1, written `1/256`, `0.25` or `1`."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in's identity: the module constant `PLUGIN`.

    `version` is part of every key the plug-in takes part in: raise it whenever a result would change.
    """

    name: str
    version: str
    summary: str = ""
    paper: str = ""
    options: type[Options] | None = None
    api: int = API_VERSION


OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True)
class Arm:
    """One method under comparison: the plug-ins that make it and the options they were given."""

    id: str
    plugins: tuple[str, ...]
    settings: Mapping[type[Options], Options] = field(default_factory=dict, repr=False)
    providers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Hook to the plug-in that provides it, of `loss_fn`, `strategy` and `merger`."""

    def options(self, kind: type[OptionsT]) -> OptionsT:
        """The calling plug-in's options, validated; its defaults where the user set none."""
        found = self.settings.get(kind)
        return found if isinstance(found, kind) else kind()
