"""Boards of made-up rows: seeded, and as whole as real ones."""

import pytest

from harness.board.curves import curves
from harness.board.numbers import seed_result
from harness.board.rows import Row
from harness.testing.boards import synthetic


@pytest.fixture(scope="module")
def many():
    return synthetic(60, items=10, profiles=12)


def test_equal_arguments_give_equal_boards():
    assert synthetic(5, items=4) == synthetic(5, items=4)
    assert synthetic(5, items=4).rows != synthetic(5, items=4, seed=1).rows


def test_rows_are_valid_and_distinct(many):
    assert [Row.model_validate_json(row.model_dump_json()) for row in many.rows] == list(many.rows)
    assert len({row.id for row in many.rows}) == len({row.result.arm for row in many.rows}) == 60


def test_every_number_follows_from_the_samples(many):
    for row in many.rows:
        for name, task in row.result.tasks.items():
            for part in task.seeds:
                assert seed_result(part.seed, many.samples_of(row, name, part.seed), task, 10) == part


def test_the_board_has_a_line_for_each_row_in_order_of_its_score(many):
    assert {line.row: line.arm for line in many.board.lines} == {row.id: row.result.arm for row in many.rows}
    scores = [line.composite.score for line in many.board.lines]
    assert scores == sorted(scores, reverse=True)
    for line in many.board.lines:
        assert line.rank == 1 + sum(score > line.composite.score for score in scores)
        assert line.rank_low <= line.rank <= line.rank_high <= 60
        assert (line.composite.comparison is None) == (line.baseline is None)


def test_there_are_curves_over_ratios_and_over_amounts(many):
    found = {(curve.setting, curve.rest) for curve in curves([line.arm for line in many.board.lines])}
    assert {("dmt.k", "dmt"), ("dmt.k", "dmt+im"), ("data.specialist.fraction", "im")} <= found
