from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.mixtures import examples_in
from harness.train.batches import Steps, by_examples, by_tokens, pack


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 60))
def test_packing_places_every_item_once_and_never_overfills(lengths, capacity):
    groups = pack(lengths, capacity)
    assert sorted(item for group in groups for item in group) == list(range(len(lengths)))
    for group in groups:
        assert sum(lengths[i] for i in group) <= capacity or len(group) == 1
        assert [lengths[i] for i in group] == sorted((lengths[i] for i in group), reverse=True)


def test_packing_fits_the_tightest_room_first():
    assert pack([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]
    assert pack([12, 3], 10) == [[0], [1]]


@pytest.mark.parametrize(
    ("n", "epochs", "total"), [(100, 0.29, 29), (10, 0.7, 7), (7, 3.0, 21), (3, 0.1, 1), (5, 1.5, 7)]
)
def test_fractions_of_epochs_are_exact(n, epochs, total):
    assert examples_in(n, epochs) == total


def test_each_epoch_has_an_order_of_its_own_and_holds_everything():
    order = by_examples(50, 125, seed=4)
    assert len(order) == 125
    assert sorted(order[:50]) == sorted(order[50:100]) == list(range(50))
    assert len(set(order[100:])) == 25
    assert list(order[:50]) != list(order[50:100])
    assert list(order) == list(by_examples(50, 125, seed=4))
    assert list(order) != list(by_examples(50, 125, seed=5))
    assert list(order[:60]) == list(by_examples(50, 60, seed=4))


def test_a_budget_of_tokens_is_reached_and_no_more():
    lengths = np.array([5, 9, 3, 7])
    order = by_tokens(lengths, 50, seed=1)
    assert lengths[order].sum() >= 50 > lengths[order[:-1]].sum()
    assert sorted(order[:4]) == [0, 1, 2, 3]
    assert lengths[by_tokens(lengths, 24, seed=1)].sum() == 24


def test_steps_hold_the_batch_size_and_equally_many_micro_batches():
    lengths = np.array([4, 9, 2, 7, 7, 1, 3])
    steps = Steps.of(np.array([3, 1, 0, 2, 6, 5, 4]), lengths, batch_size=3, micro_tokens=10)
    assert len(steps) == 3
    taken = [sorted(i for micro in step for i in micro) for step in steps.micro_batches]
    assert taken == [[0, 1, 3], [2, 5, 6], [4]]
    assert {len(step) for step in steps.micro_batches} == {steps.accumulation} == {3}
