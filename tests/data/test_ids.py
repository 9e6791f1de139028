import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.ids import IdCollector


def collected(*own):
    collector = IdCollector()
    for id_ in own:
        collector.add(id_)
    return list(collector.ids())


def test_ids_are_the_rows_own_where_every_row_has_one_and_no_two_are_equal():
    assert collected("x", "7") == ["x", "7"]
    assert collected("x", "x") == collected("x", None) == collected("7", "7") == ["0", "1"]
    assert collected("", "a") == ["", "a"]
    assert collected("") == [""]
    assert collected() == []


@pytest.mark.parametrize("odd", ["é\u2028", "\ud800", "\0", "a\0"])
def test_any_text_can_be_an_id(odd):
    assert collected(odd, "a") == [odd, "a"]


@given(st.lists(st.text(max_size=4), max_size=30), st.randoms())
def test_taking_some_ids_is_taking_them_from_a_list(own, draw):
    collector = IdCollector()
    for id_ in own:
        collector.add(id_)
    ids = list(collector.ids())
    assert ids == (own if len(set(own)) == len(own) else [str(i) for i in range(len(own))])
    some = sorted(draw.sample(range(len(own)), k=len(own) // 2))
    assert list(collector.ids().take(np.asarray(some, dtype=np.int64))) == [ids[i] for i in some]
