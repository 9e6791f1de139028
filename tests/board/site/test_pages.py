"""The HTML: closed to everything but its own scripts, whatever the texts are."""

import base64
import gzip
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.site.pages import data_page, index_page, inert

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 &amp; ]]> \\u003c"


class Scripts(HTMLParser):
    """The scripts, styles and policy that a parser finds in a page, and every attribute."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found, self.attributes, self.policy, self._in = [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.attributes += of
        if of.get("http-equiv") == "Content-Security-Policy":
            self.policy = of["content"]
        if tag in {"script", "style"}:
            self._in = (tag, of.get("type", "module"))
            self.found.append([*self._in, ""])

    def handle_data(self, data):
        if self._in:
            self.found[-1][2] += data

    def handle_endtag(self, _tag):
        self._in = None


def sha256(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def directives(policy):
    return {name: sources for name, *sources in (one.split() for one in policy.split("; "))}


@pytest.mark.parametrize("page", [index_page({"boards": []}), data_page(b"[]")], ids=["index", "data"])
def test_nothing_runs_but_scripts_whose_hashes_the_policy_names(page):
    scripts = Scripts(page)
    policy = directives(scripts.policy)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["script-src"] == [
        sha256(of) for tag, kind, of in scripts.found if tag == "script" and kind == "module"
    ]
    assert policy.get("style-src", []) == [sha256(of) for tag, _, of in scripts.found if tag == "style"]
    assert not re.search("unsafe|http:|https:|\\*", scripts.policy)
    assert not {name for name in scripts.attributes if name == "style" or name.startswith("on")}
    assert "src" not in scripts.attributes


def test_no_text_can_become_markup():
    policy = directives(Scripts(index_page({})).policy)
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["trusted-types"] == ["'none'"]


@given(
    st.recursive(
        st.none() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        lambda of: st.lists(of) | st.dictionaries(st.text(), of),
    )
)
def test_content_is_inert_and_means_the_same(content):
    written = inert(content)
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == content


def test_hostile_texts_stay_in_their_place():
    page = index_page({"arm": HOSTILE})
    scripts = [of for tag, kind, of in Scripts(page).found if (tag, kind) == ("script", "application/json")]
    assert [json.loads(of) for of in scripts] == [{"arm": HOSTILE}]
    assert len(Scripts(page).found) == len(Scripts(index_page({})).found)
    assert HOSTILE not in html.unescape(page)


@given(st.binary())
def test_a_page_of_data_holds_what_it_was_given(content):
    (packed,) = [of for _, kind, of in Scripts(data_page(content)).found if kind == "application/gzip"]
    assert gzip.decompress(base64.b64decode(packed)) == content
