from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.board.contrasts import against_baseline, against_first, contrasts
from harness.board.publish import read_board, read_row, run_scores, write_run


@pytest.fixture
def compared(info, tmp_path):
    """A comparison of these arms: `made` with its `rows`."""

    def compared(arms, *, whole=False, **changes):
        folder = tmp_path / "run"
        write_run(folder, arms, replace(info, **changes))
        rows = [read_row(folder, line.row) for line in read_board(folder).lines]
        rows.sort(key=lambda row: [arm.id for arm in arms].index(row.result.arm))
        pairs = against_baseline(rows) if whole else against_first(rows)
        made = contrasts(rows, pairs, lambda row, name, seed: run_scores(folder, row, name, seed))
        return SimpleNamespace(made=made, rows=rows, folder=folder)

    return compared


@pytest.fixture
def seeds(maker, compared):
    """Two methods with five seeds."""
    return compared(
        [
            maker.arm(name, {"code": share, "chat": 0.5}, seeds=range(5), n=60)
            for name, share in (("sft", 0.3), ("dmt", 0.9))
        ]
    )


@pytest.fixture
def checkpoints(arms, compared):
    """Three arms of one seed."""
    return compared(arms)
