import pytest

from harness.board import ledger
from harness.board.export.selection import select
from harness.board.publish import read_board, read_row, run_samples, write_run


@pytest.fixture
def run(arms, info, tmp_path):
    write_run(tmp_path / "run", arms, info)
    return tmp_path / "run"


@pytest.fixture
def published(run, tmp_path):
    """The run's rows in a published board."""
    for line in read_board(run).lines:
        row = read_row(run, line.row)
        samples = {
            (name, part.seed): run_samples(run, row, name, part.seed)
            for name, task in row.result.tasks.items()
            for part in task.seeds
        }
        ledger.add(row, samples, tmp_path / "public")
    return tmp_path / "public"


@pytest.fixture
def selection(run):
    return select(run)
