"""What is said of a setting that does not exist, or of a value that will not do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_origin

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness.api import Options
from harness.discovery import nearest
from harness.errors import UserError

DOCS = "docs/recipes.md lists the settings"

_PLAIN = {
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "finite_number": "a finite number is wanted",
    **dict.fromkeys(("float_type", "float_parsing"), "a number is wanted"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number is wanted"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is wanted"),
    "string_type": "text is wanted",
    "literal_error": "it must be {expected}",
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list is wanted"),
    **dict.fromkeys(("dict_type", "mapping_type"), "a mapping is wanted"),
    "too_short": "it needs {min_length} at least",
    "too_long": "it has {max_length} at most",
}
"""Pydantic's kinds of errors that a user can make, in words."""

_NAMES = re.compile(r"\^?\[A-Za-z0-9\]\[A-Za-z0-9\._-\]\*\$?")
"""The pattern of what recipes and suites are called."""


def unknown_setting(path: Sequence[str], kind: type[pydantic.BaseModel], others: Sequence[str]) -> UserError:
    """No field of `kind` and none of the `others` begins with this name; a last part that stands alone is found."""
    places = [name for name in _dotted(kind) if len(path) == 1 and name.endswith(f".{path[0]}")]
    if places:
        meant = f"did you mean {' or '.join(map(repr, places))}?"
    elif close := nearest(path[0], (*kind.model_fields, *others)):
        meant = f"did you mean {'.'.join([close, *path[1:]])!r}?"
    else:
        of_plugins = ", and the options of plug-ins: harness plugins NAME" if others else ""
        meant = f"there are: {', '.join(sorted(kind.model_fields))}{of_plugins}"
    return UserError(f"there is no setting {'.'.join(path)!r}", meant)


def _dotted(kind: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """All settings by their full names, `train.lr`; what lies in mappings and lists has no such name."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        annotation = field.annotation
        inner = _model_within(annotation)
        if inner is not None and (inspect.isclass(annotation) or get_origin(annotation) in {Union, UnionType}):
            yield from _dotted(inner, f"{prefix}{name}.")


_VALIDATOR = re.compile(r"(function-\w+|literal)\[.*\]")
"""What pydantic puts among the keys where a value may be of several kinds."""


def option_error(error: pydantic.ValidationError, kind: type[pydantic.BaseModel], prefix: str = "") -> UserError:
    """What pydantic complains of first in one line, with the dotted name as the user writes it."""
    errors = error.errors(include_url=False)
    # A misspelt key leaves another one missing, and explains it.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    path = [str(part) for part in first["loc"] if not _VALIDATOR.fullmatch(str(part))]
    name = ".".join([prefix, *path] if prefix else path)
    if first["type"] == "extra_forbidden":
        return _unknown_option(name, _fields_at(kind, path[:-1]))
    if first["type"] == "missing":
        return UserError(f"{name} is missing", f"write {name}: and what it is")
    message = _words(first)
    if first["type"] == "model_type":
        message = f"it has keys of its own, such as {name}.{next(iter(_fields_at(kind, path)))}"
    given = "" if isinstance(first["input"], Mapping) else f" = {first['input']}"
    plugin = prefix and issubclass(kind, Options)
    where = f"see `harness plugins {prefix}`" if plugin else _usual(kind, path)
    return UserError(f"{name}{given} will not do: {message}" if name else message, where)


def _words(error: ErrorDetails) -> str:
    context = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()
    }
    if error["type"] == "string_pattern_mismatch" and _NAMES.fullmatch(context["pattern"]):
        return "letters, digits, dots, - and _ make a name, beginning with a letter or a digit"
    plain = _PLAIN.get(error["type"])
    return plain.format(**context) if plain else error["msg"].removeprefix("Value error, ")


def _unknown_option(name: str, known: Mapping[str, FieldInfo]) -> UserError:
    """`train.lrr` is no setting; those that there are stand beside it."""
    within, _, last = name.rpartition(".")
    if close := nearest(last, tuple(known)):
        # A place in a list of datasets is no part of what is written: data.general.fraction
        parts = [part for part in within.split(".") if part and not part.isdigit()]
        meant = f"did you mean {'.'.join([*parts, close])!r}?"
    elif known:
        meant = f"there are: {', '.join(sorted(known))}"
    else:
        meant = f"{within} has no settings"
    return UserError(f"there is no setting {name!r}", meant)


def _usual(kind: type[pydantic.BaseModel], path: Sequence[str]) -> str:
    """What the setting is where nobody sets it, or where to read about it."""
    field = _fields_at(kind, path[:-1]).get(path[-1]) if path else None
    default = None if field is None or field.is_required() else field.get_default()
    if isinstance(default, bool):
        return f"the default is {'true' if default else 'false'}"
    return f"the default is {default}" if isinstance(default, int | float | str) else DOCS


def _fields_at(kind: type[pydantic.BaseModel], path: Sequence[str]) -> Mapping[str, FieldInfo]:
    """Fields of the model at a path; parts that are keys of a mapping or places in a tuple lead to no other model."""
    model: type[pydantic.BaseModel] = kind
    for part in path:
        if part in model.model_fields:
            inner = _model_within(model.model_fields[part].annotation)
            if inner is None:
                return {}
            model = inner
    return model.model_fields


def _model_within(annotation: Any) -> type[pydantic.BaseModel] | None:
    if inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    return next(filter(None, map(_model_within, getattr(annotation, "__args__", ()))), None)
