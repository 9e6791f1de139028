"""The published leaderboard: an append-only ledger, the rows it names, and their samples.

    ledger.jsonl            what was published, superseded and retracted, each entry holding its predecessor's digest
    rows/<id>.json          the rows
    samples/<sha256>.jsonl  ids, hashes, model outputs and scores; prompts and targets belong to the benchmarks
    board.json              derived from all of these

Samples and row are on disk before the entry that names them, so a crash leaves at worst files that no entry names,
and the same command again completes what it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal

import pydantic

from harness.board.board import Board, build_board
from harness.board.files import model_json, write_atomically
from harness.board.intervals import Scores
from harness.board.numbers import Sha256
from harness.board.publish import read_row
from harness.board.rows import Row, row_path
from harness.board.samples import Sample, publishable, publishable_digest, read_samples, scores_by_item
from harness.canonical import canonical, digest, file_digest
from harness.errors import Failure, UserError

GENESIS = "0" * 64
"""The predecessor of the first entry."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Entry(_Part):
    """One line of the ledger."""

    schema_version: Literal[1] = 1
    kind: Literal["add", "supersede", "retract"]
    row: Sha256
    """The row that is published, or retracted."""
    row_sha256: Sha256
    """Of the row's file, `measured` included."""
    supersedes: Sha256 | None = None
    """The row that this one replaces."""
    reason: str = ""
    """Why a row is superseded or retracted."""
    at: str
    """UTC, ISO 8601."""
    previous: Sha256
    """Digest of the entry before."""

    @property
    def digest(self) -> str:
        """What the next entry holds as `previous`."""
        return digest(self.model_dump(mode="json"))


class Published(_Part):
    """`board.json`: one board for each recipe and suite."""

    schema_version: Literal[1] = 1
    ledger: str
    """Digest of the last entry it was made from."""
    boards: tuple[Board, ...]


def add(
    row: Row,
    samples: Mapping[tuple[str, int], Sequence[Sample]],
    leaderboards: Path,
    *,
    supersedes: str | None = None,
    reason: str = "",
) -> Entry:
    """Publish a row with its samples, (benchmark, seed) to samples.

    Raises UserError where the row may not be published, stands there already, was retracted, or replaces another
    row, named by the beginning of its id, that is not there or without a reason.
    """
    refuse_unpublishable(row)
    _refuse_foreign_samples(row, samples)
    with _lock(leaderboards):
        entries = read_ledger(leaderboards)
        supersedes = None if supersedes is None else _standing_row(supersedes, entries)
        _refuse_known(row, entries, supersedes, reason)
        for found in samples.values():
            write_atomically(samples_file(leaderboards, publishable_digest(found)), publishable(found))
        path = row_path(leaderboards, row.id)
        write_atomically(path, model_json(row))
        return _append(
            leaderboards,
            entries,
            Entry(
                kind="supersede" if supersedes else "add",
                row=row.id,
                row_sha256=file_digest(path),
                supersedes=supersedes,
                reason=reason,
                at=_now(),
                previous=_head(entries),
            ),
        )


def retract(prefix: str, leaderboards: Path, reason: str) -> Entry:
    """Take the row whose id begins so off the board; its files and its entries stay.

    Raises UserError where no such row is on the board, or more than one.
    """
    if not (leaderboards / "ledger.jsonl").exists():
        raise UserError(f"{leaderboards} holds no ledger.jsonl", "give a folder that `harness board add` wrote")
    with _lock(leaderboards):
        entries = read_ledger(leaderboards)
        row_id = _standing_row(prefix, entries)
        entry = Entry(
            kind="retract",
            row=row_id,
            row_sha256=file_digest(row_path(leaderboards, row_id)),
            reason=reason,
            at=_now(),
            previous=_head(entries),
        )
        return _append(leaderboards, entries, entry)


def read_ledger(leaderboards: Path) -> list[Entry]:
    """The entries, oldest first. Raises Failure naming the line where the chain is broken."""
    path = leaderboards / "ledger.jsonl"
    entries: list[Entry] = []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            entry = Entry.model_validate_json(line)
        except pydantic.ValidationError as error:
            raise Failure(f"{path}:{number} is not an entry: {error.errors()[0]['msg']}", _RESTORE) from error
        if entry.previous != _head(entries):
            raise Failure(f"{path}:{number} does not follow from the line before it", _RESTORE)
        entries.append(entry)
    return entries


def standing(entries: Sequence[Entry]) -> list[str]:
    """Ids of the rows on the board: published, and neither superseded nor retracted."""
    rows: dict[str, None] = {}
    for entry in entries:
        if entry.kind == "retract":
            rows.pop(entry.row, None)
        else:
            rows[entry.row] = None
            rows.pop(entry.supersedes or "", None)
    return list(rows)


def published_rows(leaderboards: Path) -> dict[str, Row]:
    """The rows on the board, by id."""
    return {row_id: read_row(leaderboards, row_id) for row_id in standing(read_ledger(leaderboards))}


def row_beginning(prefix: str, leaderboards: Path) -> Row:
    """The one row on the board whose id begins so. Raises UserError where there is none, or more than one."""
    return read_row(leaderboards, _standing_row(prefix, read_ledger(leaderboards)))


def read_published(leaderboards: Path) -> Published:
    """`board.json`. Raises UserError where it is absent or not a board."""
    path = leaderboards / "board.json"
    try:
        return Published.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise UserError(f"{path} is not a board", f"harness board build {leaderboards}") from error


def published_samples(leaderboards: Path, row: Row, benchmark: str, seed: int) -> list[Sample]:
    """The samples behind one number of a published row."""
    part = next(part for part in row.result.tasks[benchmark].seeds if part.seed == seed)
    return read_samples(samples_file(leaderboards, part.samples_sha256))


def derive(leaderboards: Path) -> Published:
    """The board that follows from the ledger, the rows and the samples."""
    entries = read_ledger(leaderboards)
    rows = sorted(published_rows(leaderboards).values(), key=_group)

    def scores_of(row: Row, benchmark: str, seed: int) -> Scores:
        return scores_by_item(
            published_samples(leaderboards, row, benchmark, seed), row.result.tasks[benchmark].score_name
        )

    boards = tuple(build_board(list(group), scores_of) for _, group in groupby(rows, key=_group))
    return Published(ledger=_head(entries), boards=boards)


def write_derived(leaderboards: Path) -> None:
    """Write `board.json` anew, which also ends an `add` that was interrupted after its entry."""
    write_atomically(leaderboards / "board.json", model_json(derive(leaderboards)))


_RESTORE = "the ledger is only ever appended to: restore it from version control"


def _append(leaderboards: Path, entries: Sequence[Entry], entry: Entry) -> Entry:
    lines = [canonical(one.model_dump(mode="json")) + "\n" for one in (*entries, entry)]
    write_atomically(leaderboards / "ledger.jsonl", "".join(lines).encode())
    write_derived(leaderboards)
    return entry


@contextmanager
def _lock(leaderboards: Path) -> Iterator[None]:
    """One writer at a time: an entry must hold the digest of the one before it."""
    from filelock import FileLock

    try:
        leaderboards.mkdir(parents=True, exist_ok=True)
        lock = FileLock(leaderboards / ".lock")
        lock.acquire()
    except OSError as error:
        raise Failure(f"{leaderboards} cannot be written: {error.strerror}", "choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def refuse_unpublishable(row: Row) -> None:
    """Raises UserError that says why a row may not be published; every reason at once."""
    files = [name for name, distribution in row.measured.plugin_distributions.items() if distribution is None]
    reasons = [
        (row.measured.git is not None and row.measured.git.dirty, "it ran from a git tree with uncommitted changes"),
        (bool(files), f"plug-in {', '.join(files)} was loaded from a file and not from an installed distribution"),
        (row.result.limit is not None, f"it asked only the first {row.result.limit} items of each benchmark"),
        (bool(row.result.suite.left_out), f"it leaves out {', '.join(row.result.suite.left_out)}"),
        (row.measured.accepted_source, "it ran with --accept-source, on results that other source code made"),
    ]
    if said := "; ".join(reason for holds, reason in reasons if holds):
        raise UserError(
            f"the row of {row.result.arm} cannot be published: {said}",
            "mend that and run again, with another --store: finished jobs remember what they ran from",
        )


def _refuse_foreign_samples(row: Row, samples: Mapping[tuple[str, int], Sequence[Sample]]) -> None:
    for name, task in row.result.tasks.items():
        for part in task.seeds:
            if publishable_digest(samples[name, part.seed]) != part.samples_sha256:
                raise Failure(
                    f"the samples of {row.result.arm} on {name}, seed {part.seed}, are not those of its row",
                    "run again to write the folder anew",
                )


def _refuse_known(row: Row, entries: Sequence[Entry], supersedes: str | None, reason: str) -> None:
    for entry in entries:
        if entry.row == row.id and entry.kind == "retract":
            raise UserError(f"the row {row.id[:12]} was retracted: {entry.reason}", "publish another result")
    if any(entry.row == row.id for entry in entries):
        raise UserError(
            f"the row {row.id[:12]} of {row.result.arm} is already published", "there is nothing left to do"
        )
    if supersedes is not None and not reason:
        raise UserError(f"the row {supersedes[:12]} is replaced for no reason", "say why with --reason")


def _standing_row(prefix: str, entries: Sequence[Entry]) -> str:
    """The one row on the board whose id begins so."""
    found = [row_id for row_id in standing(entries) if row_id.startswith(prefix)] if prefix else []
    if len(found) != 1:
        what = f"{len(found)} rows on the board have ids" if found else "no row on the board has an id"
        raise UserError(f"{what} beginning with {prefix!r}", "harness board show leaderboards shows them")
    return found[0]


def samples_file(leaderboards: Path, sha256: str) -> Path:
    """Where published samples of that digest lie."""
    return leaderboards / "samples" / f"{sha256}.jsonl"


def _group(row: Row) -> tuple[str, str]:
    return row.result.recipe_sha256, row.result.suite.sha256


def _head(entries: Sequence[Entry]) -> str:
    return entries[-1].digest if entries else GENESIS


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
