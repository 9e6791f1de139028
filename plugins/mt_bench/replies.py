"""What a judge's reply says: FastChat's reading of it, and a strict one."""

from __future__ import annotations

import ast
import math
import re

from harness.api import JudgeReply

HIGHEST = 10
"""Ratings are of 1 to 10."""
DROPPED = -1.0
"""FastChat's rating where it finds none; it is left out of the mean."""

_IN_TWO, _IN_ONE = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
_NUMBER = r"(\d+(?:\.\d*)?)(?:\s*/\s*10)?"
_BRACKETED = re.compile(r"\[\[\s*([^\[\]]*?)\s*\]\]")
_RATING = re.compile(_NUMBER)
_IN_WORDS = re.compile(
    rf"\b(?:rating|score)(?:\s*\([^()]*\))?(?:\s+(?:is|of))?\s*[:=]?\s*\[?{_NUMBER}"
    r"(?![\w%]|\s*(?:[-\u2013\u2014/]|to\b|or\b|out\s+of\b(?!\s+(?:10|ten)\b)))",
    re.IGNORECASE,
)
_PREFERRED = re.compile(r"\[\[([ABC])\]\]")


def official_rating(reply: JudgeReply) -> float:
    """FastChat's: the first `[[number]]`, else the first `[number]`, else `DROPPED`; no range is checked.

    FastChat reads the number as a Python literal. What that dies of, such as `[[08]]`, is `DROPPED` as well, and so is
    a number that no float can hold.
    """
    found = _IN_TWO.search(reply.text) or _IN_ONE.search(reply.text)
    try:
        rating = float(ast.literal_eval(found[1])) if found else DROPPED
    except (SyntaxError, ValueError, OverflowError):
        return DROPPED
    return rating if math.isfinite(rating) else DROPPED


def strict_rating(reply: JudgeReply) -> float | None:
    """The last rating in double brackets, else the one that words such as `Rating: 7` give; None where there is none.

    The last counts, since judges quote the form they are asked for before they follow it. A rating is of 1 to 10, may
    have `/10` behind it, and stands in a judgment that was not cut off. Several different ones in words are none.
    """
    text = re.sub(r"[*_`]", "", reply.text)
    bracketed = [found for found in _BRACKETED.findall(text) if found.lower() != "rating"]
    numbers = [_RATING.fullmatch(bracketed[-1])] if bracketed else list(_IN_WORDS.finditer(text))
    found = {float(number[1]) if number else math.nan for number in numbers}
    if reply.finish == "length" or len(found) != 1:
        return None
    (rating,) = found
    return rating if 1 <= rating <= HIGHEST else None


def preference(reply: JudgeReply) -> str | None:
    """The last of `[[A]]`, `[[B]]` and `[[C]]`, a tie, in a judgment that was not cut off; None where there is none."""
    found = _PREFERRED.findall(reply.text)
    return found[-1] if found and reply.finish != "length" else None
