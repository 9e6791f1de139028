"""What a person decided, line by line: each decision is on disk before the next row is shown, and none is rewritten."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Literal

import pydantic

from harness.canonical import Json, canonical, utf8
from harness.errors import UserError
from harness.files import explained, held, sync
from harness.review.candidates import Candidate

_BEGINNINGS = (b'{"edited":', b'{"row":')
"""Of every line: what a crash leaves of the last one begins so, or is a part of this."""
_OWN = "give a file that `harness data review` wrote"


class Decision(pydantic.BaseModel):
    """One line. `undo` takes back the last decision on its row."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    row: str
    """Id of the candidate."""
    verdict: Literal["keep", "drop", "edit", "undo"]
    edited: dict[str, Json] | None = pydantic.Field(None, exclude_if=lambda row: row is None)
    """The row as it is kept instead, where the verdict is `edit`."""

    @property
    def kept(self) -> bool:
        """Whether the candidate stays, as it was or edited."""
        return self.verdict in {"keep", "edit"}


class Decisions:
    """Decisions in the order in which they were taken, without those that were taken back."""

    def __init__(self, lines: Iterable[Decision] = ()) -> None:
        self._taken: list[Decision] = []
        for line in lines:
            self.take(line)

    def take(self, decision: Decision) -> None:
        """One more."""
        if decision.verdict != "undo":
            self._taken.append(decision)
            return
        for n in reversed(range(len(self._taken))):
            if self._taken[n].row == decision.row:
                del self._taken[n]
                return

    def last(self, rows: Container[str]) -> Decision | None:
        """What `undo` would take back of the decisions on these rows."""
        return next((decision for decision in reversed(self._taken) if decision.row in rows), None)

    @property
    def standing(self) -> dict[str, Decision]:
        """By row the last decision on it."""
        return {decision.row: decision for decision in self._taken}


def read_decisions(path: Path) -> Decisions:
    """The decisions in a file; none where there is no file. A line that a crash cut off was never taken.

    Raises UserError naming a line that is broken, and where the end is no beginning of a decision either.
    """
    return Decisions(_lines(path))


def _lines(path: Path) -> Iterator[Decision]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            if not any(line.startswith(begun) or begun.startswith(line) for begun in _BEGINNINGS):
                raise UserError(f"{path} is no file of decisions", _OWN)
            return
        try:
            yield Decision.model_validate(json.loads(line))
        except ValueError:
            raise UserError(f"{path}, line {number}: no decision", f"{_OWN}, or remove the line") from None


def lines_of(decisions: Iterable[Decision]) -> str:
    """The text of a file of decisions."""
    return "".join(canonical(decision.model_dump(mode="json")) + "\n" for decision in decisions)


class Journal:
    """A file of decisions that is being written."""

    def __init__(self, path: Path, file: BufferedWriter, decisions: Decisions) -> None:
        self.path, self.decisions = path, decisions
        self._file = file

    def take(self, decision: Decision) -> None:
        """Write a decision; it is on disk when this returns."""
        with explained(self.path, "--decisions"):
            self._file.write(utf8(lines_of([decision])))
            self._file.flush()
            os.fsync(self._file.fileno())
        self.decisions.take(decision)


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """The file at `path` with what it holds already, for this process alone.

    Raises UserError where another one writes it.
    """

    def busy() -> None:
        raise UserError(f"{path} is being written by another review", "end that one, or review under another --as NAME")

    with explained(path, "--decisions"), held(path.with_name(f".{path.name}.lock"), busy):
        decisions = read_decisions(path)
        with path.open("ab") as file:
            if file.tell():
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
            sync(path.parent)
            yield Journal(path, file, decisions)


def kept(candidates: Sequence[Candidate], standing: Mapping[str, Decision]) -> list[Mapping[str, Json]]:
    """The rows that stay, in the file's order, edited ones as they were edited."""
    decided = ((candidate, standing.get(candidate.id)) for candidate in candidates)
    return [decision.edited or candidate.row for candidate, decision in decided if decision and decision.kept]
