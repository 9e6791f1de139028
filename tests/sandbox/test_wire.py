"""Plain data on its way between program and referee."""

import os
from collections import Counter, OrderedDict
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.inside.wire import decode, encode, receive, send

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
PLAIN = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4) | st.sets(HASHABLE, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=10,
)


def there_and_back(value):
    reading, writing = os.pipe()
    try:
        send(writing, encode(value))
        return decode(receive(reading))
    finally:
        os.close(reading)
        os.close(writing)


@given(PLAIN)
def test_plain_data_arrives_as_it_was(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [-(2**70), range(3, 9, 2), float("inf"), "\ud800", 1e-320, -0.0, True])
def test_odd_values_arrive_as_they_were(value):
    assert repr(there_and_back(value)) == repr(value)


def test_numbers_arrive_that_python_does_not_write_in_base_10():
    assert there_and_back(10**5000) == 10**5000


def test_what_is_no_number_is_none_there_either():
    assert there_and_back(float("nan")) != there_and_back(float("nan"))


def test_objects_of_subclasses_become_what_they_are_based_on():
    class Colour(IntEnum):
        RED = 1

    class Pair(NamedTuple):
        a: int
        b: list

    values = {"a": 2}, {"a": 1}, (1, [2]), 1
    for value, plain in zip((Counter("aa"), OrderedDict(a=1), Pair(1, [2]), Colour.RED), values, strict=True):
        found = there_and_back(value)
        assert found == plain
        assert type(found) is type(plain)


def test_an_iterator_can_be_gone_through_and_equals_nothing():
    found = there_and_back(n for n in (1, 2))
    assert found != [1, 2]
    assert list(found) == [1, 2]


def test_numbers_of_numpy_become_pythons():
    for value, plain in ((np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(1), True), (np.float64(0.1), 0.1)):
        assert there_and_back(value) == plain
        assert type(there_and_back(value)) is type(plain)


@pytest.mark.parametrize("value", [print, object(), int, Exception("x"), [lambda: 1]])
def test_anything_else_is_refused_by_its_type(value):
    with pytest.raises(TypeError, match=r"^\w+ is no plain data$"):
        encode(value)


def test_who_hears_nothing_more_is_told():
    reading, writing = os.pipe()
    os.write(writing, b"\x05\x00\x00\x00abc")
    os.close(writing)
    with pytest.raises(EOFError):
        receive(reading)
    os.close(reading)


def test_decimals_and_fractions_are_exact():
    assert there_and_back([Decimal("0.10"), Fraction(1, 3)]) == [Decimal("0.10"), Fraction(1, 3)]
