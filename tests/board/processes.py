"""What the tests of several writers, readers and kills start as processes of their own.

python processes.py add RUN_FOLDER TO N     publishes the run's rows, N at a time as one command does
python processes.py read TO STOP            reads all that is published until the file STOP exists; prints how often
python processes.py die CALL N COMMAND...   a `harness` command, killed in place of its Nth os.CALL if it comes so far
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from harness.board import ledger
from harness.board.chain import read_chain
from harness.board.publish import read_board, read_row, run_samples


def add(run: Path, to: Path, at_once: int) -> None:
    rows = [read_row(run, line.row) for line in read_board(run).lines]
    for begin in range(0, len(rows), at_once):
        with ledger.writing(to) as writer:
            for row in rows[begin : begin + at_once]:
                samples = {
                    (name, part.seed): run_samples(run, row, name, part.seed)
                    for name, task in row.result.tasks.items()
                    for part in task.seeds
                }
                writer.publish(row, samples)
        shown = {row for board in ledger.read_published(to).boards for row in board.rows}
        assert shown >= {row.id for row in rows[: begin + at_once]}, "it returned before the board showed its rows"


def read(to: Path, stop: Path) -> None:
    rounds, rows, last = 0, {}, 0
    while not stop.exists():
        chain = read_chain(to)
        assert len(chain.entries) >= last, "the ledger lost entries"
        last = len(chain.entries)
        for entry in chain.entries:
            if entry.row not in rows:
                rows[entry.row] = read_row(to, entry.row)
        if (to / ledger.BOARD).exists():
            ledger.read_published(to)
        rounds += 1
    print(rounds)  # noqa: T201


def die(call: str, at: int, command: list[str]) -> None:
    from harness.cli import main

    real, calls = getattr(os, call), 0

    def counted(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    setattr(os, call, counted)
    sys.argv = ["harness", *command]
    main()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "add":
        add(Path(arguments[0]), Path(arguments[1]), int(arguments[2]))
    elif what == "read":
        read(Path(arguments[0]), Path(arguments[1]))
    else:
        die(arguments[0], int(arguments[1]), arguments[2:])
