from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.train.divide import balance, cost, cut, cut_evenly, divide, pack

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)
LAYOUTS = st.sampled_from(["packed", "grouped", "padded"])


@given(LENGTHS, st.integers(1, 60), st.integers(1, 5), LAYOUTS)
def test_every_example_is_placed_once_and_no_micro_batch_overfilled(lengths, capacity, ranks, layout):
    groups = divide(lengths, capacity, ranks, layout)
    assert sorted(item for group in groups for item in group) == list(range(len(lengths)))
    for group in groups:
        assert cost(group, lengths, layout) <= capacity or len(group) == 1


@given(LENGTHS, st.integers(1, 60), st.integers(1, 5), LAYOUTS)
def test_more_ranks_need_no_more_rounds_than_one_rank_s_micro_batches_fill(lengths, capacity, ranks, layout):
    alone, shared = divide(lengths, capacity, 1, layout), divide(lengths, capacity, ranks, layout)
    assert -(-len(shared) // ranks) == -(-len(alone) // ranks)


@given(LENGTHS, st.integers(1, 60))
def test_packing_puts_the_longest_first(lengths, capacity):
    for group in pack(lengths, capacity):
        assert [lengths[i] for i in group] == sorted((lengths[i] for i in group), reverse=True)


def test_packing_fits_the_tightest_room_first():
    assert pack([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]
    assert pack([12, 3], 10) == [[0], [1]]


def test_a_small_step_is_spread_over_all_ranks():
    lengths = [9, 8, 7, 6, 5, 4]
    assert len(divide(lengths, 1000, 1, "packed")) == 1
    assert divide(lengths, 1000, 3, "packed") == [[0, 5], [1, 4], [2, 3]]
    assert len(divide(lengths, 1000, 3, "grouped")) == len(divide(lengths, 1000, 3, "padded")) == 3


@given(st.lists(st.integers(1, 50), min_size=30, max_size=60), st.integers(2, 5))
def test_balanced_loads_differ_by_no_more_than_one_example(lengths, count):
    loads = [sum(lengths[i] for i in group) for group in balance(lengths, 10_000, count)]
    assert max(loads) - min(loads) <= max(lengths)


def test_what_balances_only_by_overflowing_is_left_as_it_was_packed():
    lengths = [6, 5, 5, 4, 4, 3, 3]
    assert balance(lengths, 15, 2) is None
    assert [sum(lengths[i] for i in group) for group in divide(lengths, 15, 2, "packed")] == [15, 15]


def test_an_example_above_the_capacity_has_a_micro_batch_to_itself():
    assert balance([50, 4, 4], 10, 2) == [[0], [1, 2]]
    assert cut([4, 50, 4, 4], 10) == [[0], [1], [2, 3]]


def test_padded_rows_follow_the_data_and_grouped_ones_the_lengths():
    lengths = [3, 9, 3, 9, 3]
    assert divide(lengths, 20, 1, "padded") == [[0, 1], [2, 3], [4]]
    assert divide(lengths, 20, 1, "grouped") == [[1, 3], [0, 2, 4]]


@pytest.mark.parametrize("count", [2, 3, 5])
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=7))
def test_even_cuts_have_the_smallest_possible_maximum(count, lengths):
    found = cut_evenly(lengths, 1000, count)
    assert len(found) <= count
    largest = max(cost(group, lengths, "padded") for group in found)
    smaller = [capacity for capacity in range(1, largest) if len(cut(lengths, capacity)) <= count]
    assert all(max(cost(g, lengths, "padded") for g in cut(lengths, capacity)) >= largest for capacity in smaller)


@given(LENGTHS, st.integers(2, 5), LAYOUTS)
def test_no_rank_is_idle_while_another_has_two_examples(lengths, ranks, layout):
    groups = divide(lengths, 60, ranks, layout)
    assert len(groups) % ranks == 0 or all(len(group) == 1 for group in groups)
