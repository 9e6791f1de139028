"""A published board with the ledger that it was made of, whoever writes to the folder meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.board.chain import LEDGER, Chain, parse_chain
from harness.board.ledger import BOARD, Published, board_content, parse_published, refuse_lost
from harness.errors import Failure


@dataclass(frozen=True)
class Snapshot:
    """Board and ledger as they were when the board was derived. The files of rows and samples never change."""

    published: Published
    chain: Chain
    """The entries that the board was made of, and none that came after."""
    board: bytes
    """`board.json`."""
    ledger: bytes
    """`ledger.jsonl` up to those entries."""


def snapshot(leaderboards: Path) -> Snapshot:
    """The board that is there: first `board.json`, then what it was made of in the ledger, which only grows.

    Raises UserError where there is no board, Failure where the ledger has lost entries, or is not that of the board.
    """
    board, path = board_content(leaderboards), leaderboards / LEDGER
    published = parse_published(board, leaderboards)
    content = path.read_bytes() if path.exists() else b""
    whole = parse_chain(content, path)
    refuse_lost(published, whole, leaderboards)
    after = whole.behind(published.ledger)
    lines = content[: whole.size].splitlines(keepends=True)
    ledger = b"".join(lines[: len(whole.entries) - after])
    chain = parse_chain(ledger, path)
    if {row for one in published.boards for row in one.rows} != set(chain.standing()):
        raise Failure(
            f"{leaderboards / BOARD} is not made of the ledger beside it", f"harness board build {leaderboards}"
        )
    return Snapshot(published, chain, board, ledger)
