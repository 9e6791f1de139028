"""Selection by the ratio of prompt to response length, against ratios worked out by hand."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from harness.plugins.length_ratio import NearestRatio, ratio
from hypothesis import given
from hypothesis import strategies as st

from harness.api import Curated, DataInfo, Derived, Example, Message, UserError
from harness.arms import bind
from harness.armspec import ArmSpec

DATA = {
    "chats": DataInfo("chats", "general", 30),
    "code": DataInfo("code", "specialist", 12),
    "books": DataInfo("books", "pretraining", 100),
}


def talk(prompt, response, name="e"):
    return Example(name, (Message("user", "x" * prompt), Message("assistant", "y" * response)))


def chosen(examples, target, share=Fraction(1, 2), amount=None):
    told = {}
    tools = SimpleNamespace(tell=told.__setitem__)
    return NearestRatio(target, share, amount).curate(examples, tools)["all"], told


def test_ratios_are_of_all_prompts_over_all_responses():
    turns = (Message("system", "12"), Message("user", "123"), Message("assistant", "1234"))
    assert ratio(Example("e", (*turns, Message("user", "1"), Message("assistant", "12345678")))) == 6 / 12


def test_the_nearest_are_kept_half_and_twice_being_equally_far():
    sizes = [(10, 10), (20, 10), (40, 10), (80, 10), (0, 10), (10, 0)]
    examples = [talk(*size, name=str(n)) for n, size in enumerate(sizes)]
    found, told = chosen(examples, target=4.0, amount=1)
    assert [e.id for e in found] == ["2"]
    found, _ = chosen(examples, target=4.0, amount=2)
    assert [e.id for e in found] == ["1", "2"], "2 and 8 are equally far from 4, and the first is taken"
    found, _ = chosen(examples, target=4.0, amount=4)
    assert [e.id for e in found] == ["0", "1", "2", "3"]
    assert told["mean ratio"] == {"of all": (1 + 2 + 4 + 8 + 0) / 5, "of those kept": 4.0}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1), st.floats(0.01, 50))
def test_nothing_left_out_is_nearer_than_anything_kept(sizes, target):
    from math import inf, log

    examples = [talk(*size, name=str(n)) for n, size in enumerate(sizes)]
    found, _ = chosen(examples, target)
    assert len(found) == max(1, len(examples) // 2)
    assert found == [example for example in examples if example in found]

    def far(example):
        prompt, response = (len(message.content) for message in example.messages)
        return abs(log(prompt / response / target)) if prompt and response else inf

    left = [far(example) for example in examples if example not in found]
    assert not left or max(map(far, found)) <= min(left)


def test_more_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"length_ratio.amount is 3, and there are 2 examples \(lower it\)"):
        chosen([talk(1, 1, "a"), talk(1, 1, "b")], 1.0, amount=3)


def test_samples_of_any_strategy_are_samples_of_what_is_selected():
    bound = bind(ArmSpec(("length_ratio", "dmt"), {"length_ratio": {"target": 2.0}}))
    first, second = bound.stages(DATA)
    nearest = NearestRatio(2.0, Fraction(1, 2), None)
    assert first.mixture.items == (Curated("code", nearest),)
    assert second.mixture.items == (
        Curated("chats", nearest),
        Derived(Curated("code", nearest), fraction=Fraction(1, 256)),
    )


def test_plain_text_is_left_alone():
    bound = bind(ArmSpec(("length_ratio", "sft")))
    (stage,) = bound.stages(DATA)
    assert {data.parents for data in stage.mixture.items} == {("chats",), ("code",)}
