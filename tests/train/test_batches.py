from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest

from harness.api import Part
from harness.data.mixtures import examples_in
from harness.train.batches import MicroBatches, Steps, by_examples, by_tokens
from harness.train.corpus import Corpus
from harness.train.divide import cost


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


def layout_of(steps):
    """Example indices by step, part and rank."""
    return [
        [
            [steps.order[steps.places(step, part, rank)].tolist() for rank in range(steps.ranks)]
            for part in range(steps.accumulation)
        ]
        for step in range(len(steps))
    ]


@pytest.mark.parametrize("layout", ["packed", "grouped", "padded"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_steps_hold_the_batch_size_and_equally_many_micro_batches_on_every_rank(ranks, layout):
    lengths = np.array([4, 9, 2, 7, 7, 1, 3])
    order = np.array([3, 1, 0, 2, 6, 5, 4])
    steps = Steps.of(order, lengths, batch_size=3, micro_tokens=10, ranks=ranks, layout=layout)
    assert len(steps) == 3
    assert steps.accumulation == {1: 3, 2: 2, 3: 1}[ranks]
    taken = [sorted(i for part in step for micro in part for i in micro) for step in layout_of(steps)]
    assert taken == [[0, 1, 3], [2, 5, 6], [4]] == [sorted(steps.examples(step)) for step in range(3)]
    places = np.concatenate(
        [steps.places(s, p, r) for s in range(3) for p in range(steps.accumulation) for r in range(ranks)]
    )
    assert sorted(places) == list(range(7))


@pytest.mark.parametrize(
    ("micro_tokens", "accumulation", "digest"),
    [
        (64, 32, "cfd56353b31373a1"),
        (1024, 8, "56e801f74096d8fa"),
        (2048, 4, "79fb67ddbbfd17dd"),
    ],
)
def test_the_packing_of_one_rank_stays_what_it_was(micro_tokens, accumulation, digest):
    """Rounding depends on it: another layout would no longer repeat older results to the last bit."""
    lengths = np.random.Generator(np.random.PCG64(5)).integers(3, 400, size=500)
    steps = Steps.of(by_examples(500, 1250, seed=2), lengths, 32, micro_tokens)
    assert steps.accumulation == accumulation
    found = json.dumps([[micro for part in step for micro in part] for step in layout_of(steps)])
    assert hashlib.sha256(found.encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize("layout", ["packed", "grouped", "padded"])
def test_ranks_get_micro_batches_of_like_size_at_the_same_time(layout):
    lengths = np.random.Generator(np.random.PCG64(5)).integers(3, 400, size=512)
    steps = Steps.of(by_examples(512, 512, seed=2), lengths, 64, 2048, ranks=4, layout=layout)
    for step in layout_of(steps):
        for part in step:
            loads = [cost(range(len(micro)), lengths[micro], layout) for micro in part if micro]
            assert not loads or (len(loads) == 4 and min(loads) > 0.5 * max(loads))


def corpus():
    """Nine examples of 2 to 10 tokens, with weights that no binary fraction holds exactly."""
    lengths = np.arange(2, 11)
    total = int(lengths.sum())
    return Corpus(
        ids=np.arange(total, dtype=np.int32),
        parts=np.full(total, Part.RESPONSE, np.uint8),
        weights=(np.arange(total) % 7 / np.float32(10)).astype(np.float32),
        offsets=np.cumsum([0, *lengths]),
        dataset=np.zeros(9, np.int32),
        names=("made",),
    )


@pytest.mark.parametrize("reduction", ["token", "example"])
@pytest.mark.parametrize("layout", ["packed", "grouped", "padded"])
@pytest.mark.parametrize(("ranks", "micro_tokens"), [(1, 8), (1, 100), (2, 8), (3, 20)])
def test_every_micro_batch_knows_what_its_step_is_divided_by(monkeypatch, reduction, layout, ranks, micro_tokens):
    monkeypatch.setattr("harness.train.batches._SUMMED_TOGETHER", 2)
    rows = corpus()
    steps = Steps.of(by_examples(9, 18, seed=3), rows.lengths, 4, micro_tokens, ranks=ranks, layout=layout)
    shares = [MicroBatches(rows, steps, reduction, rank) for rank in range(ranks)]
    assert {len(share) for share in shares} == {len(steps) * steps.accumulation}
    for step in range(len(steps)):
        parts = range(step * steps.accumulation, (step + 1) * steps.accumulation)
        batches = [share[i] for share in shares for i in parts]
        mass = math.fsum(math.fsum(batch.weights.flatten().tolist()) for batch in batches)
        examples = len(steps.examples(step))
        wanted = mass if reduction == "token" else examples
        assert len({batch.denominator for batch in batches}) == 1
        assert batches[0].denominator == pytest.approx(wanted, rel=1e-12)
        assert [share[i].first for share in shares for i in parts] == ([True] + [False] * (len(parts) - 1)) * ranks
