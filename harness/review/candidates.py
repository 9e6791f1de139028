"""What there is to review: the rows of a data file, each with an id that stays when rows are added or moved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api import Columns, Message
from harness.canonical import Json, digest
from harness.data.columns import conversation, needed, recognise
from harness.data.formats import Row, rows
from harness.errors import UserError

_ID = 16
"""Hexadecimal characters of a row's digest."""


@dataclass(frozen=True)
class Candidate:
    """A row, and the conversation that it holds."""

    id: str
    row: Mapping[str, Json]
    messages: tuple[Message, ...]
    columns: Columns

    @property
    def facts(self) -> dict[str, Json]:
        """The columns beside the conversation: scores, tags, sources."""
        return {name: value for name, value in self.row.items() if name not in needed(self.columns)}

    def edited(self, row: Mapping[str, Json]) -> Candidate:
        """The candidate with another row in its place, under its id. Raises UserError where that is no conversation."""
        return Candidate(self.id, row, conversation(Row("the edited row", row), self.columns), self.columns)


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates of a JSON, JSONL, Parquet or CSV file with the usual columns, in its order.

    Cells are JSON: dates are text, and NaN is null. An id is the digest of the row; of equal rows, the second and later
    ones have a number too. Raises UserError for rows that cannot be read or understood, naming file and row, and for a
    file without any.
    """
    found, seen = list[Candidate](), Counter[str]()
    columns: Columns | None = None
    for row in rows(str(path), path):
        columns = columns or recognise(tuple(row.values), str(path))
        values = json.loads(json.dumps(row.values, default=str), parse_constant=lambda _: None)
        key = digest(values)[:_ID]
        seen[key] += 1
        id_ = key if seen[key] == 1 else f"{key}-{seen[key]}"
        found.append(Candidate(id_, values, conversation(row, columns), columns))
    if not found:
        raise UserError(f"{path} holds no rows", "give a file with candidates")
    return found
