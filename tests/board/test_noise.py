"""The noise floor: one method against itself."""

from dataclasses import replace

import pytest

from harness.board.compare import items_of
from harness.board.noise import DEALS, noise
from harness.board.publish import write_run
from harness.board.sources import scores_from, sources
from harness.errors import UserError


@pytest.fixture
def floor(info, tmp_path):
    """The floor of these arms, each from a run of its own."""

    def floor(*arms):
        found = []
        for n, arm in enumerate(arms):
            write_run(tmp_path / str(n), [arm], info)
            found += sources([], tmp_path / str(n), tmp_path)
        rows = [one.row for one in found]
        return noise(rows, items_of(rows, scores_from(found)))

    return floor


def test_items_dealt_anew_are_marked_as_rarely_as_promised(maker, floor):
    """Two draws that disagree on d of n items differ by sqrt(d) / n, dealt at random."""
    found = floor(maker.arm("im", {"chat": 0.6}, seeds=range(2)))
    assert (found.draws, found.seeds_a_side, found.cells["chat"].methods) == (2, 1, None)
    items, pair = found.composite.over_items, found.composite.checkpoints
    assert (items.comparisons, pair.comparisons) == (DEALS, 1)
    assert items.marked <= 0.05
    assert items.spread == pytest.approx((2 * 0.24 / 200) ** 0.5, rel=0.1)
    assert pair.spread == pytest.approx(pair.largest)


def test_seeds_that_differ_show_what_one_seed_each_would_claim(maker, floor):
    """Three seeds that answer 20, 50 and 80 % right: any two differ as checkpoints."""
    seeds = [maker.arm(f"im{n}", {"chat": share}, seeds=(n,)).seeds[0] for n, share in enumerate((0.2, 0.5, 0.8))]
    found = floor(replace(maker.arm("im", {"chat": 0.5}), seeds=tuple(seeds)))
    assert found.composite.checkpoints.marked == 1
    assert found.composite.over_items.marked <= 0.05
    assert found.composite.checkpoints.spread > 5 * found.composite.over_items.spread


def test_splits_of_six_seeds_are_counted_once(maker, floor):
    """15 pairings of six draws, and of each the 2 x 2 x 2 ways to choose sides, half of them mirrored."""
    found = floor(maker.arm("im", {"chat": 0.6}, seeds=range(6))).composite.methods
    assert found.comparisons == 15 * 4
    assert 0 <= found.marked <= 0.2
    few = floor(maker.arm("dmt", {"chat": 0.6}, seeds=range(4))).composite.methods
    assert (few.comparisons, few.marked) == (3 * 2, None)


def test_two_runs_of_one_recipe_are_draws_of_one_method(maker, floor):
    first = maker.arm("im", {"chat": 0.6}, seeds=(0,))
    maker.root = maker.root / "again"
    assert floor(first, maker.arm("im", {"chat": 0.6}, seeds=(1,))).draws == 2


def test_two_methods_and_single_draws_are_refused(maker, floor):
    with pytest.raises(UserError, match="im and dmt are not one method"):
        floor(maker.arm("im", {"chat": 0.6}), maker.arm("dmt", {"chat": 0.6}))
    maker.root = maker.root / "again"
    with pytest.raises(UserError, match="there is one draw of im"):
        floor(maker.arm("im", {"chat": 0.6}))
