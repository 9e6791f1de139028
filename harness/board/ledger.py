"""The published leaderboard: an append-only ledger, the rows it names, and their samples.

    ledger.jsonl            what was published, superseded and retracted, each entry holding its predecessor's digest
    rows/<id>.json          the rows
    samples/<sha256>.jsonl  ids, hashes, model outputs and scores; prompts and targets belong to the benchmarks
    board.json              derived from all of these

One lock orders the entries, another the boards. Samples and row are on disk before the entry that names them, and the
entry before the board that shows it, so a crash leaves at worst files that no entry names or a board of earlier
entries, and the same command again completes what it began. A command returns when `board.json` was derived from a
ledger that holds its entries: by itself, or by whoever derived it while this one waited. So many writers at once cost
few derivations, and each of those makes anew only the boards that gained or lost rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal

from harness.board import admission
from harness.board.board import Board, build_board
from harness.board.chain import GENESIS, LEDGER, Chain, Entry, read_chain
from harness.board.files import model_json, write_atomically
from harness.board.folders import RUN_BOARD, refuse_page
from harness.board.intervals import Scores
from harness.board.numbers import Part, Sha256
from harness.board.publish import read_row
from harness.board.rows import Group, Row
from harness.board.samples import Sample, Samples, read_samples, samples_file, scores_by_item
from harness.board.versions import newest, read_json
from harness.board.writer import Writer
from harness.errors import Failure, HarnessError, UserError
from harness.files import explained, held, sweep

BOARD = "board.json"
LOCKS = LEDGER_LOCK, BOARD_LOCK = ".lock", ".board.lock"
"""Of whoever appends an entry, and of whoever derives the board."""


class Published(Part):
    """`board.json`: one board for each recipe and suite."""

    schema_version: Literal[1, 2] = 2
    """2 holds boards of version 4. It rises with theirs."""
    ledger: Sha256
    """Digest of the last entry it was made from."""
    boards: tuple[Board, ...]


@contextmanager
def writing(leaderboards: Path) -> Iterator[Writer]:
    """Hold the ledger's lock and publish; at the end the board shows what is in the ledger.

    A row that is refused does not undo those before it. Raises Failure where the ledger has lost entries.
    """
    refused = None
    with _locked(leaderboards, LEDGER_LOCK):
        chain = read_chain(leaderboards)
        before = _board_before(leaderboards, chain)
        boards = before.boards if before else ()
        places = {line.row: (*board.group, line.arm) for board in boards for line in board.lines}
        writer = Writer(leaderboards, chain, places, partial(published_samples, leaderboards))
        for folder in ("rows", "samples"):
            sweep(leaderboards / folder)
        try:
            yield writer
        except HarnessError as error:
            refused = error
    if writer.chain.entries:
        refresh(leaderboards, writer.chain.head)
    if refused is not None:
        raise refused


def add(
    row: Row,
    samples: Samples,
    leaderboards: Path,
    *,
    supersedes: str | None = None,
    reason: str = "",
) -> Entry:
    """Publish one row, as `Writer.publish` does."""
    admission.refuse_unpublishable(row)
    with writing(leaderboards) as writer:
        return writer.publish(row, samples, supersedes=supersedes, reason=reason)


def retract(prefix: str, leaderboards: Path, reason: str) -> Entry:
    """Retract one row, as `Writer.retract` does; or show on the board what was retracted so and is not yet shown."""
    refuse_unpublished(leaderboards)
    chain = read_chain(leaderboards)
    retracted = [entry for entry in chain.entries if entry.kind == "retract" and entry.reason == reason]
    same = [entry for entry in retracted if prefix and entry.row.startswith(prefix)]
    if same and not any(row_id.startswith(prefix) for row_id in chain.standing()) and refresh(leaderboards):
        return same[-1]
    with writing(leaderboards) as writer:
        return writer.retract(prefix, reason)


def refresh(leaderboards: Path, head: str | None = None) -> bool:
    """Bring the board up to the entry of that digest at least, or to the last, and say whether it was behind.

    Boards that lost no row and gained none are kept as they are.
    """
    with _locked(leaderboards, BOARD_LOCK):
        chain = read_chain(leaderboards)
        before = _board_before(leaderboards, chain)
        if before is not None and chain.behind(before.ledger) <= chain.behind(head or chain.head):
            return False
        write_published(leaderboards, derive(leaderboards, before.boards if before else ()))
        return True


def write_derived(leaderboards: Path) -> None:
    """Write `board.json` anew from the rows and samples alone.

    A board that cannot be read is replaced. Raises Failure where one that can shows that the ledger has lost entries.
    """
    with _locked(leaderboards, BOARD_LOCK, "FOLDER"):
        with suppress(UserError):
            _board_before(leaderboards, read_chain(leaderboards))
        write_published(leaderboards, derive(leaderboards))


def write_published(leaderboards: Path, published: Published) -> None:
    """Write what follows from the ledger, alone; whoever reads meanwhile finds the old file or the new one."""
    sweep(leaderboards)
    write_atomically(leaderboards / BOARD, model_json(published))


def derive(leaderboards: Path, before: Sequence[Board] = ()) -> Published:
    """The boards that follow from the ledger, the rows and the samples.

    Of those derived `before`, the ones that lost no row and gained none are taken over.
    """
    chain = read_chain(leaderboards)
    standing = dict.fromkeys(chain.standing())
    intact = [board for board in before if board.schema_version == newest(Board) and board.rows <= standing.keys()]
    shown = {row_id for board in intact for row_id in board.rows}
    gained = {read_row(leaderboards, row_id).group for row_id in standing if row_id not in shown}
    kept = {board.group: board for board in intact if board.group not in gained}
    settled = {row_id for board in kept.values() for row_id in board.rows}
    groups: dict[Group, list[Row]] = {}
    for row_id in standing:
        if row_id not in settled:
            row = read_row(leaderboards, row_id)
            groups.setdefault(row.group, []).append(row)

    def scores_of(row: Row, benchmark: str, seed: int) -> Scores:
        samples = published_samples(leaderboards, row, benchmark, seed)
        return scores_by_item(samples, row.result.tasks[benchmark].score_name)

    boards = kept | {group: build_board(rows, scores_of) for group, rows in groups.items()}
    return Published(ledger=chain.head, boards=tuple(boards[group] for group in sorted(boards)))


def read_ledger(leaderboards: Path) -> tuple[Entry, ...]:
    """What was published, superseded and retracted, oldest first. Raises as `read_chain` does."""
    return read_chain(leaderboards).entries


def published_rows(leaderboards: Path) -> dict[str, Row]:
    """The rows on the board, by id."""
    return {row_id: read_row(leaderboards, row_id) for row_id in read_chain(leaderboards).standing()}


def row_beginning(prefix: str, leaderboards: Path) -> Row:
    """The one row on the board whose id begins so. Raises UserError where there is none, or more than one."""
    return read_row(leaderboards, admission.standing_row(prefix, read_chain(leaderboards), leaderboards))


def read_published(leaderboards: Path) -> Published:
    """`board.json`. Raises UserError where it is absent, not a board, or newer than this code."""
    return parse_published(board_content(leaderboards), leaderboards)


def board_content(leaderboards: Path) -> bytes:
    """The bytes of `board.json`. Raises UserError where it is absent."""
    path = leaderboards / BOARD
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", f"harness board build {leaderboards}") from error


def parse_published(content: bytes, leaderboards: Path) -> Published:
    """What `board.json` says. Raises UserError where it is no board, or newer than this code."""
    path, remedy = leaderboards / BOARD, f"harness board build {leaderboards}"
    return read_json(Published, content, name=str(path), what="a board", remedy=remedy)


def published_samples(leaderboards: Path, row: Row, benchmark: str, seed: int) -> list[Sample]:
    """The samples behind one number of a published row."""
    return read_samples(samples_file(leaderboards, row.result.part(benchmark, seed).samples_sha256))


def refuse_unpublished(leaderboards: Path) -> None:
    """Raises UserError where the folder is no published leaderboard."""
    refuse_page(leaderboards)
    if (leaderboards / LEDGER).exists():
        return
    if (leaderboards / RUN_BOARD).is_file():
        raise UserError(
            f"{leaderboards} is a run's output folder, and no published leaderboard",
            f"harness board add {leaderboards} publishes its rows",
        )
    raise UserError(f"{leaderboards} holds no {LEDGER}", "give a folder that `harness board add` wrote")


def refuse_lost(published: Published, chain: Chain, leaderboards: Path) -> None:
    """Raises Failure where the ledger does not hold the entry that the board was made from: entries were taken away."""
    if published.ledger not in {GENESIS, *chain.digests}:
        raise Failure(
            f"{leaderboards / BOARD} was made from an entry that the ledger does not hold",
            f"restore {LEDGER} from version control",
        )


def _board_before(leaderboards: Path, chain: Chain) -> Published | None:
    """The board that is there. It is never ahead of the ledger unless entries were taken away, and that is refused."""
    if not (leaderboards / BOARD).exists():
        return None
    before = read_published(leaderboards)
    refuse_lost(before, chain, leaderboards)
    return before


@contextmanager
def _locked(leaderboards: Path, name: str, option: str = "--to") -> Iterator[None]:
    """Alone among all processes: an entry holds the digest of the one before it, and the newest board stays.

    `option` is what names the folder.
    """
    try:
        leaderboards.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{leaderboards} cannot be written: {error.strerror}", "choose another folder") from error
    with explained(leaderboards, option), held(leaderboards / name):
        yield
