"""Rows of a data file, from its bytes: JSON, JSONL, Parquet and CSV, each row with where it stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from harness.errors import UserError


@dataclass(frozen=True)
class Row:
    """One row, and the file and line or row number that an error about it names."""

    where: str
    values: Mapping[str, Any]


def suffix(path: str) -> str:
    """The file's format by its name: `.jsonl`. Raises UserError for one that cannot be read."""
    found = PurePath(path).suffix.lower()
    if found not in READERS:
        raise UserError(f"{path} is not in a format that can be read", f"use {', '.join(READERS)}")
    return found


def rows(path: str, content: bytes) -> Iterator[Row]:
    """The rows of the file of that name. Raises UserError naming the file and the line that is broken."""
    return READERS[suffix(path)](path, content)


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8", "save the file as UTF-8") from None


def _row(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {json.dumps(value)[:40]} is not an object with columns", "write one object per row")
    return Row(where, value)


def _jsonl(path: str, content: bytes) -> Iterator[Row]:
    # Not splitlines(): it would also split at separators that JSON allows inside a string.
    for number, line in enumerate(_text(path, content).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                value = json.loads(line)
            except ValueError as error:
                raise UserError(f"{where}: not JSON ({error})", "mend or remove the line") from None
            yield _row(where, value)


def _json(path: str, content: bytes) -> Iterator[Row]:
    try:
        values = json.loads(_text(path, content))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON ({error.msg})", "mend the file; one object per line is .jsonl"
        ) from None
    if not isinstance(values, list):
        raise UserError(
            f"{path}: the JSON is not an array of rows", "write [{...}, ...], or one object per line in .jsonl"
        )
    for number, value in enumerate(values, 1):
        yield _row(f"{path}, row {number}", value)


def _csv(path: str, content: bytes) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_text(path, content), newline=""), strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if cells and len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} cells under {len(header)} columns", "quote cells with commas")
            if cells:
                yield Row(where, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})", "mend or remove the line") from None


def _parquet(path: str, content: bytes) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not Parquet ({str(error).splitlines()[0]})", "fetch or write the file again"
        ) from None
    number = 0
    for batch in table.to_batches(max_chunksize=1024):
        for values in batch.to_pylist():
            number += 1
            yield _row(f"{path}, row {number}", values)


READERS: Mapping[str, Callable[[str, bytes], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
    ".csv": _csv,
}
