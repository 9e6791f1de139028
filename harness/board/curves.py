"""Score curves: the lines through the arms of a board on which one number of their settings changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

_NEXT = re.compile(r",(?=[A-Za-z_][\w-]*(?:\.[\w-]+)+=)")
"""Between two settings of an arm's id; values may hold commas too."""


@dataclass(frozen=True)
class Point:
    """An arm on a curve."""

    number: Fraction
    value: str
    """The number as the arm's id has it: `1/16`."""
    place: int
    """Which of the arms it is."""


@dataclass(frozen=True)
class Curve:
    """Arms that differ in the value of one number alone, in its order."""

    setting: str
    """`dmt.k`"""
    rest: str
    """What they have in common: `dmt+im`, `dmt@train.lr=0.001`."""
    points: tuple[Point, ...]


def curves(arms: Sequence[str]) -> list[Curve]:
    """Every line through the arms, given by their ids, on which one number changes; of at least two values."""
    found: dict[tuple[str, str], list[Point]] = {}
    for place, arm in enumerate(arms):
        names, own, matched = _parts(arm)
        for setting, value in own.items():
            if (number := _number(value)) is not None:
                rest = _joined(names, {name: other for name, other in own.items() if name != setting}, matched)
                found.setdefault((setting, rest), []).append(Point(number, value, place))
    return [
        Curve(setting, rest, tuple(sorted(points, key=lambda point: (point.number, point.place))))
        for (setting, rest), points in found.items()
        if len({point.number for point in points}) > 1
    ]


def _parts(arm: str) -> tuple[str, dict[str, str], str]:
    """An arm's id taken apart, as `ArmSpec.id` joins it: names, own settings, and whose budget it has."""
    rest, tilde, matched = arm.partition("~")
    names, _, words = rest.partition("@")
    pairs = [word.partition("=") for word in _NEXT.split(words)] if words else []
    if not all(equals and "." in name for name, equals, _ in pairs):
        return arm, {}, ""  # a model's name
    return names, {name: value for name, _, value in pairs}, tilde + matched


def _joined(names: str, own: Mapping[str, str], matched: str) -> str:
    words = ",".join(f"{name}={value}" for name, value in own.items())
    return (f"{names}@{words}" if words else names) + matched


def _number(value: str) -> Fraction | None:
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError):
        return None
