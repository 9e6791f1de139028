"""Canonical JSON and its SHA-256: one text, and so one key, for one meaning."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

Json = Any  # None, bool, int, float, str, and lists and string-keyed mappings of these

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> str:
    """Sorted keys, no white space, no NaN: equal values give equal texts on every machine."""
    return _CANONICAL.encode(value)


def digest(value: Json) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal characters."""
    return hashlib.sha256(utf8(canonical(value))).hexdigest()


def utf8(text: str) -> bytes:
    r"""JSON or words as bytes: half a surrogate pair, which has no UTF-8, as `\ud800`, which is the same JSON."""
    return text.encode(errors="backslashreplace")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def share(value: Fraction) -> str:
    """A fraction as it stands in keys and recipes: `1/256`, never 0.00390625."""
    return f"{value.numerator}/{value.denominator}"
