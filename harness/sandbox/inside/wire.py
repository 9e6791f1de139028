"""What the referee and the program say to each other: JSON in frames, and plain data as JSON.

Neither pickle nor marshal: the program is hostile, and the worst that it may send is something to be refused.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

_JSON_INTEGERS = 1 << 53
"""Longer ones go in base 16: Python refuses to write and read them in base 10."""


def send(descriptor: int, message: Any) -> None:
    """Write one frame: its length in four bytes, then ASCII. Raises BrokenPipeError where nobody listens."""
    body = json.dumps(message).encode("ascii")
    left = memoryview(struct.pack("=I", len(body)) + body)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> Any:
    """Read one frame. Raises EOFError where the other side has gone."""
    (length,) = struct.unpack("=I", _exactly(descriptor, 4))
    return json.loads(_exactly(descriptor, length))


def _exactly(descriptor: int, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        chunk = os.read(descriptor, length - len(found))
        if not chunk:
            raise EOFError
        found += chunk
    return bytes(found)


class Form(NamedTuple):
    """How one kind of value is written as JSON and read again."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _each(values: Any) -> list[Any]:
    return [encode(value) for value in values]


_FORMS: dict[type, Form] = {
    int: Form(hex, lambda text: int(text, 16)),
    bytes: Form(bytes.hex, bytes.fromhex),
    complex: Form(lambda z: [z.real, z.imag], lambda parts: complex(*parts)),
    Fraction: Form(lambda q: _each((q.numerator, q.denominator)), lambda parts: Fraction(*map(decode, parts))),
    Decimal: Form(str, Decimal),
    range: Form(lambda r: _each((r.start, r.stop, r.step)), lambda parts: range(*map(decode, parts))),
    dict: Form(lambda d: [_each(pair) for pair in dict.items(d)], lambda pairs: dict(map(_pair, pairs))),
    **{
        kind: Form(_each, lambda items, kind=kind: kind(map(decode, items)))  # type: ignore[misc]
        for kind in (list, tuple, set, frozenset)
    },
}
_BY_NAME = {kind.__name__: form for kind, form in _FORMS.items()}


def _pair(parts: Any) -> tuple[Any, Any]:
    key, value = map(decode, parts)
    return key, value


def encode(value: Any) -> Any:
    """Plain data as JSON. Raises TypeError for anything else.

    Objects of subclasses become what they are based on. An iterator becomes its items, to be gone through once again.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int) and abs(value) < _JSON_INTEGERS:
        return value
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return {kind.__name__: form.write(value)}
    if hasattr(value, "__next__"):
        return {"iterator": _each(value)}
    numpy = sys.modules.get("numpy")  # who has not imported it has none of its values
    if numpy is not None and isinstance(value, numpy.generic):
        return encode(value.item())
    raise TypeError(f"{type(value).__name__} is no plain data")


def decode(value: Any) -> Any:
    """What `encode` was given. Raises something or other for what it never writes."""
    if not isinstance(value, dict):
        return value
    ((name, content),) = value.items()
    return iter(list(map(decode, content))) if name == "iterator" else _BY_NAME[name].read(content)
