from dataclasses import replace

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
    publish(run, tmp_path / "public")
    return tmp_path / "public"


@pytest.fixture
def two_boards(published, arms, info, tmp_path):
    """The same arms on another base model beside them, on a board of its own."""
    other = replace(info, recipe={**info.recipe, "model": "other/model"}, model={"id": "other/model"})
    write_run(tmp_path / "other", arms, other)
    publish(tmp_path / "other", published)
    return published


def publish(run, folder):
    for line in read_board(run).lines:
        row = read_row(run, line.row)
        samples = {
            (name, part.seed): run_samples(run, row, name, part.seed)
            for name, task in row.result.tasks.items()
            for part in task.seeds
        }
        ledger.add(row, samples, folder)


@pytest.fixture
def selection(run):
    return select(run)
