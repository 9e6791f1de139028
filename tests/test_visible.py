"""Text that a terminal would obey, spelled out."""

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.visible import in_one_line, printable_json, visible, visible_lines

ODD = st.text(st.characters() | st.sampled_from('\x00\x1b\x07\x7f\x9b\u2028\u202e\ufeff\ud83d\r\n\t\\"'))


def test_what_is_obeyed_is_spelled_out_and_the_rest_stays():
    assert visible("a\x1b[2J\x9b\x7f\u202e\r\té\n😀") == "a\\x1b[2J\\x9b\\x7f\\u202e\\r\té\n😀"
    assert visible_lines("a\x1b\r\nb\rc\r\n") == "a\\x1b\r\nb\\rc\r\n"
    assert in_one_line(" a\r\n\tb\x07 ") == "a b\\x07"


@given(st.recursive(ODD | st.floats(allow_nan=False) | st.none(), lambda of: st.lists(of) | st.dictionaries(ODD, of)))
def test_json_says_the_same_in_printable_ascii(value):
    written = json.dumps(value, indent=1, ensure_ascii=False)
    printable = printable_json(written)
    assert printable.isascii()
    assert printable.replace("\n", "").isprintable()
    assert json.loads(printable) == json.loads(written)
    assert printable_json(printable) == printable
