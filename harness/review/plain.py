r"""Formulas as a terminal can show them: `$\frac{1}{2}x^2$` as `(1/2)x²`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element

from harness.grading.latex import Formula, pieces

_SUPERSCRIPTS = dict(zip("0123456789+-−=()ni′*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ′*", strict=True))  # noqa: RUF001 -- these are the signs
_SUBSCRIPTS = dict(zip("0123456789+-−=()aeijknx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑᵢⱼₖₙₓ", strict=True))  # noqa: RUF001 -- these are the signs
_ACCENTS = {"¯": "\u0304", "―": "\u0304", "^": "\u0302", "~": "\u0303", "→": "\u20d7", "˙": "\u0307"}
"""What stands above letters, as a mark that joins each."""
_SPACED = frozenset("=<>≤≥≠≈≡∼→⇒⇔↦∈∉⊂⊆∪∩∧∨+−±·×÷∑∏∫")  # noqa: RUF001 -- these are the signs
_UNSEEN = re.compile("[\u2061-\u2064]")
"""What MathML applies and multiplies with."""
_ATOM = re.compile(r"[^\W_]+|[^\W_]?[\u0300-\u036f\u20d7]")


def plain(text: str) -> str:
    """The text with its formulas in one line of letters and signs each; those that cannot be read stay as written."""
    return "".join(map(_shown, pieces(text)))


def _shown(piece: str | Formula) -> str:
    if isinstance(piece, str):
        return piece
    element = piece.element()
    try:
        return piece.written if element is None else re.sub(r"\s+", " ", _text(element)).strip()
    except (IndexError, RecursionError):  # a fraction of one part, as in \frac{1}; braces without end
        return piece.written


def _text(element: Element) -> str:
    """An element of MathML and all within it."""
    tag = element.tag.rpartition("}")[2]
    if not len(element):
        return _leaf(tag, _UNSEEN.sub("", html.unescape(element.text or "")))
    parts = [_text(child) for child in element]
    return _LAYOUTS[tag](element, parts) if tag in _LAYOUTS else "".join(parts)


def _leaf(tag: str, text: str) -> str:
    if tag == "mspace":
        return " "
    if text in _SPACED or (tag in {"mi", "mo"} and len(text) > 1 and text.isalpha()):  # relations; sin, lim
        return f" {text} "
    return text


def _enclosed(text: str) -> str:
    """In brackets, unless it cannot be misread."""
    text = text.strip()
    return text if _ATOM.fullmatch(text) else f"({text})"


def _script(mark: str, letters: Mapping[str, str], text: str) -> str:
    """`²` where there are such letters, else `^(k+1)`."""
    text = text.replace(" ", "")
    return "".join(map(letters.__getitem__, text)) if all(map(letters.__contains__, text)) else mark + _enclosed(text)


def _fraction(element: Element, parts: list[str]) -> str:
    if element.get("linethickness") == "0":
        return f"{parts[0]} over {parts[1]}"
    return f"({_enclosed(parts[0])}/{_enclosed(parts[1])})"


def _scripts(below: int | None, above: int | None) -> Callable[[Element, list[str]], str]:
    def layout(_: Element, parts: list[str]) -> str:
        low = "" if below is None else _script("_", _SUBSCRIPTS, parts[below])
        high = "" if above is None else _script("^", _SUPERSCRIPTS, parts[above])
        return f"{parts[0].rstrip()}{low}{high}{' ' if parts[0].endswith(' ') else ''}"

    return layout


def _over(_: Element, parts: list[str]) -> str:
    base, above = parts[0].strip(), parts[1].strip()
    if above in _ACCENTS:
        return "".join(letter + _ACCENTS[above] for letter in base)
    return f"{base}^{_enclosed(above)}"


_LAYOUTS: Mapping[str, Callable[[Element, list[str]], str]] = {
    "mfrac": _fraction,
    "msqrt": lambda _, parts: f"√{_enclosed(''.join(parts))}",
    "mroot": lambda _, parts: f"{_script('root ', _SUPERSCRIPTS, parts[1])}√{_enclosed(parts[0])}",
    "msup": _scripts(None, 1),
    "msub": _scripts(1, None),
    "msubsup": _scripts(1, 2),
    "munder": _scripts(1, None),
    "munderover": _scripts(1, 2),
    "mover": _over,
    "menclose": lambda _, parts: f"[{''.join(parts)}]",
    "mtable": lambda _, parts: "; ".join(parts),
    "mtr": lambda _, parts: ", ".join(parts),
}
