"""Rows of a data file, one after another, each with where it stands: JSON, JSONL, Parquet, CSV, and zip archives.

No file is held whole: what is in memory at a time is a row, or what the format stores together: a Parquet row group, a
file of an archive.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, BinaryIO, TextIO

from harness.errors import UserError

_CHUNK = 1 << 20
"""Characters of a JSON array read at a time."""
_CUT = 16
"""An error so near to the end of what has been read of a JSON array may only mean that there is more to read."""


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


def opened(path: Path, label: str) -> BinaryIO:
    """The file, to be read. Raises UserError naming `label` for one that is missing or may not be read."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        remedy = "check the path; it is relative to where the command runs"
        raise UserError(f"there is no file {label}", remedy) from None
    except OSError as error:
        raise UserError(f"cannot read {label}: {error.strerror}", "check that it is a file you may read") from None


def rows(label: str, path: Path, members: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of the file, which errors call `label`; of an archive, those of `members` (patterns) or of all it holds.

    Raises UserError naming the line that is broken.
    """
    with opened(path, label) as file:
        try:
            yield from _zip(label, file, members) if members else READERS[suffix(label)](label, file)
        except UnicodeDecodeError:
            raise UserError(f"{label}, line {_undecodable(path)}: not UTF-8", "save the file as UTF-8") from None


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _text(file: BinaryIO, newline: str) -> TextIO:
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)


def _row(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {json.dumps(value)[:40]} is not an object with columns", "write one object per row")
    return Row(where, value)


def json_lines(label: str, lines: Iterable[str | bytes]) -> Iterator[Row]:
    """Rows that stand one on a line. Raises UserError naming the line that is broken."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{label}, line {number}"
            try:
                value = json.loads(line)
            except ValueError as error:
                raise UserError(f"{where}: not JSON ({error})", "mend or remove the line") from None
            yield _row(where, value)


def _jsonl(label: str, file: BinaryIO) -> Iterator[Row]:
    # Lines end at "\n" alone: JSON allows other separators inside a string.
    with _text(file, "\n") as lines:
        yield from json_lines(label, lines)


def _json(label: str, file: BinaryIO) -> Iterator[Row]:
    with _text(file, "") as characters:
        text = _Json(label, characters)
        first = text.peek()
        if first != "[":
            if first != "{":
                text.value()
            raise UserError(
                f"{label}: the JSON is not an array of rows", "write [{...}, ...], or one object per line in .jsonl"
            )
        for number, value in enumerate(text.array(), 1):
            yield _row(f"{label}, row {number}", value)
        if text.peek():
            raise text.broken("Extra data")


class _Json:
    """A JSON text read value by value."""

    def __init__(self, label: str, file: TextIO) -> None:
        self._label, self._file = label, file
        self._text, self._at, self._ended = "", 0, False
        self._line = 1
        """That on which `_text` begins."""
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def array(self) -> Iterator[Any]:
        """The values of the array that begins here."""
        self._take("[")
        more = self.peek() != "]"
        while more:
            yield self.value()
            more = self.peek() == ","
            if more:
                self._take(",")
        self._take("]")

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or not self._may_be_cut(error):
                    raise self.broken(error.msg, error.pos) from None
            else:
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            self._more()

    def broken(self, problem: str, at: int | None = None) -> UserError:
        """What to say of the text at this place."""
        line = self._line + self._text.count("\n", 0, self._at if at is None else at)
        return UserError(
            f"{self._label}, line {line}: not JSON ({problem})", "mend the file; one object per line is .jsonl"
        )

    def _take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise self.broken("Expecting ',' delimiter")
        self._at += 1

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text.rstrip()) - _CUT

    def _more(self) -> None:
        # At least as much again, so that a value of many chunks is not parsed once for each.
        left = self._text[self._at :]
        self._line += self._text.count("\n", 0, self._at)
        found = self._file.read(max(_CHUNK, len(left)))
        self._text, self._at, self._ended = left + found, 0, not found


def _csv(label: str, file: BinaryIO) -> Iterator[Row]:
    with _text(file, "") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            for cells in reader:
                where = f"{label}, line {reader.line_num}"
                if cells and len(cells) != len(header):
                    problem = f"{where}: {len(cells)} cells under {len(header)} columns"
                    raise UserError(problem, "quote cells with commas")
                if cells:
                    yield Row(where, dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            where = f"{label}, line {reader.line_num}"
            raise UserError(f"{where}: not CSV ({error})", "mend or remove the line") from None


def _parquet(label: str, file: BinaryIO) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=1024):
            for values in batch.to_pylist():
                number += 1
                yield _row(f"{label}, row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{label}: not Parquet ({str(error).splitlines()[0]})", "fetch or write the file again"
        ) from None


def _zip(label: str, file: BinaryIO, patterns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of the archive's files in the order of their names; a JSON file may also be one row."""
    try:
        with zipfile.ZipFile(file) as archive:
            held = [name for name in sorted(archive.namelist()) if _is_data(PurePosixPath(name))]
            names = [name for name in held if not patterns or any(fnmatchcase(name, wanted) for wanted in patterns)]
            if not names:
                wanted = " or ".join(patterns) or "data file"
                raise UserError(f"{label} holds no {wanted}", f"it holds {', '.join(held[:8]) or 'no data files'}")
            for name in names:
                with archive.open(name) as member:
                    yield from _member(f"{label}/{name}", member)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{label}: not a zip archive ({error})", "fetch the file again") from None


def _is_data(name: PurePosixPath) -> bool:
    """Whether an archive's file can be read, and is none of those that a Mac adds."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not hidden and name.suffix.lower() in {*READERS} - {ARCHIVE}


def _member(label: str, member: IO[bytes]) -> Iterator[Row]:
    file = io.BytesIO(member.read())  # Parquet is read from its end, and JSON begins with what it is
    try:
        if suffix(label) == ".json" and file.getvalue().lstrip()[:1] == b"{":
            yield from json_lines(label, [file.getvalue()])
        else:
            yield from READERS[suffix(label)](label, file)
    except UnicodeDecodeError:
        raise UserError(f"{label}: not UTF-8", "save the file as UTF-8") from None


ARCHIVE = ".zip"

READERS: Mapping[str, Callable[[str, BinaryIO], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
    ".csv": _csv,
    ARCHIVE: _zip,
}
