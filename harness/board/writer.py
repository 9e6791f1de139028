"""Publishing and retracting rows: files first, and then the entry that names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.board import admission
from harness.board.chain import Chain, Entry, append
from harness.board.files import model_json, write_atomically
from harness.board.publish import read_row
from harness.board.rows import Place, Row, SamplesOf, row_path
from harness.board.samples import Samples, samples_file
from harness.canonical import file_digest, utf8
from harness.errors import UserError


@dataclass
class Writer:
    """Whoever holds the ledger's lock: what it publishes and retracts is in the ledger at once."""

    leaderboards: Path
    chain: Chain
    places: dict[str, Place]
    """Where the rows stand, as far as the board knew when the lock was taken."""
    samples_of: SamplesOf
    """Of published rows."""

    def publish(
        self,
        row: Row,
        samples: Samples,
        *,
        supersedes: str | None = None,
        reason: str = "",
    ) -> Entry:
        """Publish a row with its samples, (benchmark, seed) to samples.

        Raises UserError where the row may not be published, stands there already, was retracted, says the same as
        another, was asked or scored otherwise, or replaces another row, named by the beginning of its id, that is not
        there, is not of its arm and suite, or without a reason.
        """
        admission.refuse_unpublishable(row)
        files = admission.own_samples(row, samples)
        replaced = None if supersedes is None else admission.standing_row(supersedes, self.chain, self.leaderboards)
        admission.refuse_known(row, self.chain, replaced, reason)
        if replaced is not None:
            admission.refuse_foreign(row, dict(self._standing())[replaced], replaced)
        gone = self.chain.retracted()
        admission.refuse_put_back(row, (read_row(self.leaderboards, row_id) for row_id in gone), gone)
        admission.refuse_twin(row, [other for other in self._rows_like(row) if other.id != replaced])
        if (other := self._row_beside(row, replaced)) is not None:
            admission.refuse_other_items(row, samples, other, self.samples_of)
        for sha256, content in files.items():
            write_atomically(samples_file(self.leaderboards, sha256), content)
        write_atomically(row_path(self.leaderboards, row.id), model_json(row))
        return self._append("supersede" if replaced else "add", row.id, replaced, reason)

    def retract(self, prefix: str, reason: str) -> Entry:
        """Take the row whose id begins so off the board; its files and its entries stay.

        Raises UserError where no such row is on the board, or more than one.
        """
        if not reason:
            raise UserError(f"the row {prefix} is retracted for no reason", "say why with --why")
        return self._append("retract", admission.standing_row(prefix, self.chain, self.leaderboards), None, reason)

    def _append(
        self, kind: Literal["add", "supersede", "retract"], row_id: str, supersedes: str | None, reason: str
    ) -> Entry:
        entry = Entry(
            kind=kind,
            row=row_id,
            row_sha256=file_digest(row_path(self.leaderboards, row_id)),
            supersedes=supersedes,
            reason=utf8(reason).decode(),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            previous=self.chain.head,
        )
        self.chain = append(self.leaderboards, self.chain, entry)
        return entry

    def _rows_like(self, row: Row) -> Iterator[Row]:
        """The rows of that arm on the same board."""
        for row_id, place in self._standing():
            if place == row.place:
                yield read_row(self.leaderboards, row_id)

    def _row_beside(self, row: Row, replaced: str | None) -> Row | None:
        """A row that was asked the same suite, but for the one that is replaced."""
        beside = (row_id for row_id, place in self._standing() if place[1] == row.place[1] and row_id != replaced)
        first = next(beside, None)
        return None if first is None else read_row(self.leaderboards, first)

    def _standing(self) -> Iterator[tuple[str, Place]]:
        for row_id in self.chain.standing():
            if row_id not in self.places:
                self.places[row_id] = read_row(self.leaderboards, row_id).place
            yield row_id, self.places[row_id]
