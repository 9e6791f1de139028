"""Text of unknown origin on a terminal or in a figure: what either would obey, hide or not take is spelled out."""

from __future__ import annotations

import re

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters but for tab and line feed, what changes the direction of writing, and what is no character."""


def visible(text: str) -> str:
    r"""The text with what a terminal would obey spelled out, `\x1b`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def in_one_line(text: str) -> str:
    """As `visible`, with any white space as one blank: a name cannot look like lines of ours."""
    return visible(" ".join(text.split()))
