"""JSON Schema of the files in `leaderboards/`, for whoever reads them without this project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pydantic

from harness.board.board import Board
from harness.board.files import write_atomically
from harness.board.ledger import Entry, Published
from harness.board.rows import Row

FILES: Mapping[str, type[pydantic.BaseModel]] = {
    "row.schema.json": Row,
    "ledger-entry.schema.json": Entry,
    "board.schema.json": Published,
    "leaderboard.schema.json": Board,
}


def schema(model: type[pydantic.BaseModel]) -> str:
    """The model's JSON Schema as it stands in its file."""
    return json.dumps(model.model_json_schema(mode="serialization"), indent=2, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    for name, model in FILES.items():
        write_atomically(folder / name, schema(model).encode())
