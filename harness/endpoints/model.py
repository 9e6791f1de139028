"""A model behind a server, as a model folder: one file that names it, so that whoever hands models on need not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from harness.canonical import Json
from harness.endpoints.access import Manner
from harness.errors import UserError
from harness.files import write_whole
from harness.jobs import Declaration, ModelSettings

FILE = "endpoint.json"


class EndpointManner(Manner):
    """How the endpoint engine asks a server."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit of an answer's tokens."""


class ServedModel(Declaration):
    """What identifies a model behind a server."""

    name: str
    """As the server knows it."""
    server: str
    """As keys call the server, wherever it is reached."""


def take_served(model: ModelSettings, folder: Path) -> dict[str, Json]:
    """The `prepare` job of such a model: leaves its folder; returns what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    served = ServedModel.model_validate({"name": model.id, "server": model.server})
    write_whole(folder / FILE, (served.model_dump_json(indent=1) + "\n").encode())
    return {"result": {}, "measured": {}}


def served_model(folder: Path) -> ServedModel:
    """The model that the folder stands for. Raises UserError where it holds another one."""
    try:
        found: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{folder} is no model behind a server: {FILE} is missing",
            "ask a model of files with engine.name=vllm or hf",
        ) from error
    return ServedModel.model_validate(found)
