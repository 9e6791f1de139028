"""JSON Schema of the files in `leaderboards/`, for whoever reads them without this project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pydantic

from harness.board.board import Board
from harness.board.chain import Entry
from harness.board.files import write_atomically
from harness.board.ledger import BOARD_LOCK, Published
from harness.board.rows import Row
from harness.board.versions import newest
from harness.files import held, sweep

DRAFT = "https://json-schema.org/draft/2020-12/schema"

SCHEMAS = "schema"
"""The folder of the published leaderboard that holds them."""

FILES: Mapping[str, type[pydantic.BaseModel]] = {
    "row.schema.json": Row,
    "ledger-entry.schema.json": Entry,
    "board.schema.json": Published,
    "leaderboard.schema.json": Board,
}


def schema(name: str) -> str:
    """A file's JSON Schema. It holds for older versions too; its `$id` says which is the newest it knows."""
    model = FILES[name]
    identity = f"urn:instruct-harness:{name.removesuffix('.schema.json')}:{newest(model)}"
    body = model.model_json_schema(mode="serialization")
    return json.dumps({"$schema": DRAFT, "$id": identity, **body}, indent=2, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    for name in FILES:
        write_atomically(folder / name, schema(name).encode())


def renew_schemas(leaderboards: Path) -> None:
    """Write the schemas of a published folder anew, and sweep up what was killed while it did so."""
    with held(leaderboards / BOARD_LOCK):
        sweep(leaderboards / SCHEMAS)
        write_schemas(leaderboards / SCHEMAS)
