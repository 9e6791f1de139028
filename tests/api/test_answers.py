"""Answers beside the data that they answer, what is their final answer, and draws that a seed alone decides."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import ANSWERED, Example, Message, UserError, drawn, final_answer, questions


def example(name, question, answer, of=None):
    turns = (Message("user", question), Message("assistant", answer))
    return Example(name, turns, {} if of is None else {ANSWERED: of})


def test_answers_are_grouped_by_their_prompts_in_the_order_of_the_data():
    given_ = [
        example("d/1", "one?", "1"),
        example("a/2.0", "two?", "two", of="2"),
        example("d/2", "two?", "2"),
        example("d/3", "one?", "still 1"),
        example("a/1.0", "one?", "I", of="1"),
        example("a/1.1", "one?", "11", of="1"),
    ]
    found = [([e.id for e in q.demonstrations], [e.id for e in q.answers]) for q in questions(given_)]
    assert found == [(["d/1", "d/3"], ["a/1.0", "a/1.1"]), (["d/2"], ["a/2.0"])]


def test_a_column_called_answered_is_a_column():
    (question,) = questions([Example("1", example("1", "one?", "1").messages, {"answered": True})])
    assert ([one.id for one in question.demonstrations], question.answers) == (["1"], [])


def test_answers_without_their_data_are_refused():
    with pytest.raises(UserError, match=r"a/1\.0 answers '1', which is not among the data"):
        questions([example("a/1.0", "one?", "I", of="1")])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so\n#### 72", "72"),
        ("#### 1,080.50", "1080.5"),
        ("#### $5.", "5"),
        ("#### .5", "0.5"),
        ("#### -0.0", "0"),
        ("#### 20%", "20"),
        ("#### 3\nno:\n#### 100", "100"),
        ("####   Blue Whale ", "blue whale"),
        ("#### 1e5", "1e5"),
        ("it is 72", None),
        ("####", None),
    ],
)
def test_final_answers(text, answer):
    assert final_answer(text, r"####[ \t]*(.+)") == answer


@given(st.decimals(-(10**9), 10**9, places=3), st.booleans(), st.booleans())
def test_a_number_is_the_same_answer_however_it_is_written(number, commas, dollar):
    written = f"#### {'$' if dollar else ''}{number:,}" if commas else f"#### {'$' if dollar else ''}{number}"
    assert float(final_answer(written, "#### (.+)")) == float(number)
    assert final_answer(written, "#### (.+)") == final_answer(f"#### {number:f}00", "#### (.+)")


@given(
    st.lists(st.text("abc\ud83d", max_size=4), unique=True, max_size=12),
    st.integers(0, 14),
    st.integers(0, 14),
    st.integers(0, 3),
)
def test_draws_are_seeded_stable_and_nested(items, most, fewer, seed):
    most, fewer = max(most, fewer), min(most, fewer)
    larger, smaller = (drawn(items, n, seed, str) for n in (most, fewer))
    assert len(larger) == min(most, len(items))
    assert set(smaller) <= set(larger) <= set(items)
    assert larger == [item for item in items if item in larger]
    shuffled = random.Random(seed).sample(items, len(items))
    assert set(drawn(shuffled, most, seed, str)) == set(larger)
    assert drawn(items, None, seed, str) == items
