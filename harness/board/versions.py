"""Reading the board's files, whichever version of this project wrote them.

Every file says its `schema_version`. A model lists all versions it reads; what a version adds has a default, and is
left out of the JSON there. So an older file is read as it stands, keeps its digest, and is never rewritten. A newer
one is refused by name, since what this version does not know of might change what the rest means.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TypeVar

import pydantic

from harness.canonical import Json
from harness.errors import HarnessError, UserError

M = TypeVar("M", bound=pydantic.BaseModel)

VERSION = "schema_version"


def read_json(
    model: type[M], content: bytes, *, name: str, what: str, remedy: str, otherwise: type[HarnessError] = UserError
) -> M:
    """The model in that JSON, which lies in the file `name`.

    Raises UserError where it is newer than this code, and `otherwise` where it is not `what` it should be.
    """
    if name_twice := _repeated_name(content):
        raise otherwise(f"{name} is not {what}: it says {name_twice} twice in one place", remedy)
    try:
        return model.model_validate_json(content)
    except pydantic.ValidationError as error:
        if version := _newer(error):
            raise UserError(
                f"{name} has schema_version {version}, which this version of instruct-harness does not know",
                "upgrade it: pip install --upgrade instruct-harness",
            ) from error
        first = error.errors()[0]
        why = " ".join([".".join(map(str, first["loc"])), first["msg"]]).strip()
        raise otherwise(f"{name} is not {what}: {why}", remedy) from error


def _repeated_name(content: bytes) -> str | None:
    """A name that an object in the JSON has twice: readers differ in which of the two they take."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Json]]) -> None:
        if len(names := [name for name, _ in pairs]) != len(set(names)):
            repeated.extend(name for name in names if names.count(name) > 1)

    with suppress(ValueError, RecursionError):  # what is no JSON is told by whoever wants a model of it
        json.loads(content, object_pairs_hook=note)
    return next(iter(repeated), None)


def newest(model: type[pydantic.BaseModel]) -> int:
    """The version that this code writes."""
    return int(model.model_fields[VERSION].default)


def _newer(error: pydantic.ValidationError) -> int | None:
    """The version that was found where only older ones are known."""
    for one in error.errors():
        found = one["input"]
        if one["type"] == "literal_error" and one["loc"][-1:] == (VERSION,) and isinstance(found, int) and found > 0:
            return found
    return None
