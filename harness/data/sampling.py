"""How long a dataset's conversations are, judged by a few of them, so that a plan can tell before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from harness.api import Columns, DataSource, Example, Generated, Message
from harness.data import columns as forms
from harness.data.facts import remembered
from harness.data.formats import Row, json_lines, rows
from harness.data.sources import locate
from harness.errors import UserError

SAMPLED = 256
"""Rows that are looked at."""

_WHOLE_BYTES = 4 * 2**20
"""A JSONL file up to this size is read; of a larger one only some lines."""
_PLACE_BYTES = 2**16
_LINES_AT_A_PLACE = 4


@dataclass(frozen=True)
class Length:
    """One conversation's size."""

    messages: int
    characters: int


def lengths(source: DataSource, *, data_root: Path | None, cache: Path | None) -> tuple[Length, ...]:
    """Sizes of up to SAMPLED of the source's conversations, evenly spread over its files; none where they are not here.

    Of generated data the first ones. `cache` is a folder that remembers them.
    """
    if isinstance(source.location, Generated):
        return tuple(_length(example.messages) for example in islice(source.location.make(), SAMPLED))
    try:
        files = locate(source.location, data_root) or ()
        found = [
            remembered(f"lengths of {source.columns}", file.path, cache, partial(_look, file.path, source.columns))
            for file in files
        ]
    except (UserError, OSError):  # whoever reads the data says what is wrong with it
        return ()
    return tuple(Length(*pair) for value in found for pair in value["lengths"])


def first(source: DataSource, *, data_root: Path | None) -> Example | None:
    """The source's first conversation; None where it is not on this machine, or cannot be read."""
    if isinstance(source.location, Generated):
        return next(iter(source.location.make()), None)
    try:
        files = locate(source.location, data_root)
        row = next(rows(files[0].label, files[0].path), None) if files else None
        if row is None:
            return None
        columns = source.columns or forms.recognise(tuple(row.values), row.where)
        return Example(forms.own_id(row) or "0", forms.conversation(row, columns))
    except (UserError, OSError):
        return None


def _look(path: Path, columns: Columns | None) -> Mapping[str, Any]:
    sampled = list(_sample(path))
    if not sampled:
        return {"lengths": []}
    columns = columns or forms.recognise(tuple(sampled[0].values), path.name)
    measured = (_length(forms.conversation(row, columns)) for row in sampled)
    return {"lengths": [(length.messages, length.characters) for length in measured]}


def _sample(path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        first = next(iter(parquet.ParquetFile(path).iter_batches(SAMPLED)), None)
        return (Row(path.name, values) for values in (first.to_pylist() if first else ()))
    if path.suffix == ".jsonl" and path.stat().st_size > _WHOLE_BYTES:
        return json_lines(path.name, _lines(path))
    return _spread(path)


def _spread(path: Path) -> Iterator[Row]:
    count = sum(1 for _ in rows(path.name, path))
    taken = min(SAMPLED, count)
    wanted = {i * count // taken for i in range(taken)}
    return (row for index, row in enumerate(rows(path.name, path)) if index in wanted)


def _lines(path: Path) -> Iterable[bytes]:
    """Whole lines from places evenly spread over the file."""
    places, size = SAMPLED // _LINES_AT_A_PLACE, path.stat().st_size
    with path.open("rb") as file:
        for i in range(places):
            file.seek(i * size // places)
            if i:
                file.readline(_PLACE_BYTES)  # the rest of a line: long ones must not be hit more often
            for _ in range(_LINES_AT_A_PLACE):
                line = file.readline()
                if line.strip():
                    yield line


def _length(messages: Sequence[Message]) -> Length:
    return Length(len(messages), sum(len(message.content) for message in messages))
