"""Text of unknown origin on a terminal or in a figure: what either would obey, hide or not take is spelled out."""

from __future__ import annotations

import json
import re

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters but for tab and line feed, what changes the direction of writing, and what is no character."""

_NOT_PRINTABLE = re.compile(r"[^\n -~]+")


def visible(text: str) -> str:
    r"""The text with what a terminal would obey spelled out, `\x1b`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    r"""As `visible`, where `\r\n` ends lines."""
    return "\r\n".join(map(visible, text.split("\r\n")))


def printable_json(text: str) -> str:
    r"""JSON that says the same, with what is not printable ASCII spelled out in its strings, `\u001b`."""
    return _NOT_PRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)


def in_one_line(text: str) -> str:
    """As `visible`, with any white space as one blank: a name cannot look like lines of ours."""
    return visible(" ".join(text.split()))
