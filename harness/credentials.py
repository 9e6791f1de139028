"""Which process sees which key: a server's is for those alone who talk to that server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.canonical import Json

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
    judge = recipe.get("judge")
    keys = {
        "judge": judge.get("api_key_env") if isinstance(judge, Mapping) else None,
        "endpoint": recipe.get("runtime", {}).get("endpoint", {}).get("api_key_env"),
    }
    return {key for key in keys.values() if key is not None} - {keys.get(server or "")}
