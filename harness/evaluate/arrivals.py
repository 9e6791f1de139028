"""Answers on their way from the job that asks to the one that scores: written as they end, read while they come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from harness.canonical import Json, canonical
from harness.context import Context
from harness.evaluate.samples import Record
from harness.jobs import ANSWERS, Respond
from harness.store import MANIFEST, Store

FILE = "arrived.jsonl"
"""In the folder of a `respond` job under way: what it declares and how many items it has, then an item a line."""

_BETWEEN_LOOKS = 0.2
"""Seconds."""


class Arrivals:
    """Tells whoever scores of every item that is answered. Made of what is stored elsewhere, so it is not synced."""

    def __init__(self, folder: Path, declared: Respond, items: int) -> None:
        self._path = folder / FILE
        self._path.unlink(missing_ok=True)  # of an earlier attempt, which somebody may still read
        self._file = self._path.open("x", encoding="utf-8")
        self._told = 0
        self._write([{"declared": declared.model_dump(mode="json"), "items": items}])

    def tell(self, records: Iterable[Json]) -> None:
        """All items answered so far, in the order in which they were; only new ones are written."""
        fresh = list(records)[self._told :]
        self._told += len(fresh)
        self._write(fresh)

    def end(self) -> None:
        """Take the file away: the finished job has its own."""
        self.close()
        self._path.unlink()

    def close(self) -> None:
        """Leave it as it is."""
        self._file.close()

    def _write(self, lines: Iterable[Json]) -> None:
        self._file.write("".join(canonical(line) + "\n" for line in lines))
        self._file.flush()


class Answers:
    """What a `respond` job, the parent `role`, found out: of a finished one at once, of one under way as it comes."""

    def __init__(self, context: Context, role: str = "answers") -> None:
        self._finished = context.parents[role]
        self._tail: _Tail | None = None
        if not self.finished:
            partial = Store(Path(context.runtime["store"])).partial(self._finished.name)
            self._tail = _Tail.open(partial / FILE)
        if self._tail is None:  # it has no such file any more: it is about to be finished
            while not self.finished:
                time.sleep(_BETWEEN_LOOKS)
        self.records: list[Record] = [] if self._tail else self._read()
        """In the benchmark's order; empty until `lots` has come to its end, where it is under way."""
        head = self.manifest if self._tail is None else self._tail.head
        self.declared = Respond.model_validate(head["declared"])
        self.items: int = head["items"] if self._tail else len(self.records)
        """How many there are."""

    @property
    def finished(self) -> bool:
        """Whether the job is."""
        return (self._finished / MANIFEST).exists()

    @property
    def manifest(self) -> dict[str, Any]:
        """The finished job's."""
        found: dict[str, Any] = json.loads((self._finished / MANIFEST).read_text(encoding="utf-8"))
        return found

    def lots(self) -> Iterator[Sequence[Record]]:
        """All records, each once, those of a finished job in one lot. While nothing comes, lots are empty."""
        if self._tail is None:
            yield self.records
            return
        told: set[str] = set()
        with self._tail as tail:
            while not self.finished:
                lot = tail.read()
                told.update(record["id"] for record in lot)
                yield lot
                if not lot:
                    time.sleep(_BETWEEN_LOOKS)
        self.records = self._read()
        yield [record for record in self.records if record["id"] not in told]

    def _read(self) -> list[Record]:
        with (self._finished / ANSWERS).open(encoding="utf-8") as lines:  # str.splitlines also ends them at U+2028
            return [json.loads(line) for line in lines]


class _Tail:
    """A file that grows by whole lines."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._rest = file, ""
        lines: list[dict[str, Any]] = []
        while not lines:
            lines = self._more()
        self.head, *self._first = lines

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """None where there is no such file."""
        try:
            return cls(path.open(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def read(self) -> list[dict[str, Any]]:
        """The lines after the first that have come since the last call."""
        first, self._first = self._first, []
        return first + self._more()

    def _more(self) -> list[dict[str, Any]]:
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return [json.loads(line) for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
