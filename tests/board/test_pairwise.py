"""All pairs at once have the numbers that they have one by one."""

import operator
import random
from dataclasses import replace
from itertools import combinations

import pytest

from harness.board.build import arm_samples, build_row
from harness.board.compare import compare_composites, items_of
from harness.board.pairwise import pair_tests
from harness.board.samples import scores_by_item


def weighted(maker, arm):
    """The arm with graded answers to chat, of items that weigh 1, 2 or 5."""
    draw = random.Random(arm.id)
    scores, weights = [draw.random() for _ in range(200)], [(1.0, 2.0, 5.0)[number % 3] for number in range(200)]
    score = sum(map(operator.mul, scores, weights)) / sum(weights)
    evaluation = maker.evaluation(f"{arm.id} graded", "chat", 0, scores, weights=weights)
    evaluation = replace(evaluation, result={**evaluation.result, "score": score})
    seed = arm.seeds[0]
    return replace(arm, seeds=(replace(seed, evaluations={**seed.evaluations, "chat": evaluation}),))


def one_by_one(rows, items):
    for a, b in combinations(rows, 2):
        one = compare_composites(a, b, items, interval=False)
        if one.difference and one.difference.p is not None and not one.blocked:
            yield (a.id, b.id), (one.difference.value, one.difference.p)


@pytest.mark.parametrize("benchmarks", [("chat",), ("chat", "code")])
def test_pairs_have_the_numbers_of_single_comparisons(maker, info, benchmarks, monkeypatch):
    """Rows of one seed, of five and of three, graded ones with weights, some that lack an item, and two alike."""
    monkeypatch.setattr("harness.board.pairwise.AT_ONCE", 450)  # two pairs at a time
    shares = {"sft": 0.5, "im": 0.6, "dmt": 0.9, "kl": 0.55, "ewc": 0.52}
    arms = [maker.arm(arm, dict.fromkeys(benchmarks, share)) for arm, share in shares.items()]
    arms += [maker.arm(arm, dict.fromkeys(benchmarks, 1.0)) for arm in ("right", "right as well")]
    arms += [weighted(maker, maker.arm(f"graded {n}", dict.fromkeys(benchmarks, 0.5))) for n in range(3)]
    arms += [maker.arm(f"{arm} {n}", dict.fromkeys(benchmarks, 0.7), seeds=range(n)) for arm in "abc" for n in (3, 5)]
    arms += [maker.arm(f"{arm} right", dict.fromkeys(benchmarks, 1.0), seeds=range(5)) for arm in "ab"]
    for name in ("lacking", "lacking too"):
        one = maker.arm(name, dict.fromkeys(benchmarks, 0.5))
        gap = maker.evaluation(f"{name} again", "chat", 0, [1.0] * 120 + [0.0] * 79 + [None])
        seed = one.seeds[0]
        arms.append(replace(one, seeds=(replace(seed, evaluations={**seed.evaluations, "chat": gap}),)))
    samples, rows = {}, []
    for arm in arms:
        found = arm_samples(arm)
        rows.append(build_row(arm, info, found))
        samples[rows[-1].id] = found
    items = items_of(
        rows, lambda row, name, seed: scores_by_item(samples[row.id][name, seed], row.result.tasks[name].score_name)
    )
    expected = dict(one_by_one(rows, items))
    found = {}
    for one in pair_tests(rows, items):
        way = 1 if (one.a, one.b) in expected else -1
        found[(one.a, one.b)[::way]] = (way * one.value, one.p)
    assert found.keys() == expected.keys()
    assert len(found) > 20
    for pair, numbers in expected.items():
        assert found[pair] == pytest.approx(numbers, rel=1e-9, abs=1e-12)
