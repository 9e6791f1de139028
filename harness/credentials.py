"""Which process sees which key: a server's is for those alone who talk to that server; what is written holds none."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from harness.canonical import Json, utf8

TOKENS = ("HF_TOKEN", "WANDB_API_KEY")
"""Environment variables whose values libraries of others use, and may repeat."""

HIDDEN = "***"
_USER = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
"""What stands before the host of an address: a name, and often its password."""

Server = Literal["judge", "endpoint"]
"""Whom a process may talk to: the judge, or the server of a model."""


def server_of(declared: Mapping[str, Json]) -> Server | None:
    """Whom a job talks to, by its declaration."""
    if declared.get("judge"):
        return "judge"
    engine = declared.get("engine")
    return "endpoint" if isinstance(engine, Mapping) and engine.get("name") == "endpoint" else None


def withheld(recipe: Mapping[str, Json], server: str | None) -> set[str]:
    """Names of the environment variables that whoever talks to this server, or to none, does without."""
    keys = _keys(recipe)
    return {key for key in keys.values() if key is not None} - {keys.get(server or "")}


def command_line(arguments: Sequence[str], recipe: Mapping[str, Json] | None = None) -> str:
    """`harness` with these arguments, to be published: the keys and users that were typed are `***`.

    Keys are known by the environment, where they belong: they are the values of the variables that the recipe names.
    """
    keys = (*_keys(recipe or {}).values(), *TOKENS)
    typed = shlex.join(["harness", *(_USER.sub(HIDDEN, hidden(argument, keys)) for argument in arguments)])
    return utf8(typed).decode()  # an argument may be no text


def hidden(text: str, variables: Iterable[str | None] = TOKENS) -> str:
    """The text without the values of these environment variables."""
    for name in variables:
        secret = os.environ.get(name or "", "").strip()
        text = text.replace(secret, HIDDEN) if secret else text
    return text


def _keys(recipe: Mapping[str, Json]) -> dict[str, str | None]:
    """By server, the environment variable with its key."""
    judge = recipe.get("judge")
    return {
        "judge": judge.get("api_key_env") if isinstance(judge, Mapping) else None,
        "endpoint": recipe.get("runtime", {}).get("endpoint", {}).get("api_key_env"),
    }
