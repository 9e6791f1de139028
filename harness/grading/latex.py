"""Text with LaTeX in it, as HTML with MathML, which browsers draw by themselves; safe, whatever a model wrote."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, tostring

_MATHS = re.compile(
    r"\$\$(?P<dollars>.+?)\$\$"
    r"|\\\[(?P<brackets>.+?)\\\]"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.+?\\end\{(?P=name)\})"
    r"|\\\((?P<parentheses>.+?)\\\)"
    # As Pandoc has it, so that prices stay prices: no space within, no digit after.
    r"|(?<![\\$])\$(?P<dollar>[^\s$](?:[^$\n]*[^\s\\$])?)\$(?!\d)",
    re.DOTALL,
)
_DISPLAYED = ("dollars", "brackets", "environment")
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|providecommand|def)(?![a-zA-Z])")
_LONGEST = 4000
"""Characters of a formula; a longer one is shown as it was written."""
_ATTRIBUTES = frozenset({
    "accent", "accentunder", "columnalign", "columnlines", "columnspacing", "depth", "display", "displaystyle", "fence",
    "form", "height", "largeop", "linebreak", "linethickness", "lspace", "mathvariant", "maxsize", "minsize",
    "movablelimits", "notation", "rowlines", "rowspacing", "rspace", "scriptlevel", "separator", "stretchy", "width",
    "xmlns",
})  # fmt: skip
"""What a formula may say of itself: nothing that leads elsewhere, and no style."""


@dataclass(frozen=True)
class Formula:
    """A formula within a text."""

    written: str
    """With what marks it as one."""
    latex: str
    display: Literal["block", "inline"]

    def element(self) -> Element | None:
        """The formula as MathML, not yet tamed; None where it cannot be read."""
        from latex2mathml.converter import Converter

        if len(self.latex) > _LONGEST or _MACROS.search(self.latex):  # macros can grow without bound
            return None
        try:
            found: Element = Converter(display=self.display).convert_to_element(self.latex)
        except Exception:  # noqa: BLE001 -- it raises whatever a broken formula leads to, IndexError and RecursionError too
            return None
        return found


def pieces(text: str) -> Iterator[str | Formula]:
    """The text from beginning to end: what is plain, and the formulas."""
    end = 0
    for found in _MATHS.finditer(text):
        yield text[end : found.start()]
        kind = next(name for name, content in found.groupdict().items() if content is not None)
        yield Formula(found[0], found[kind], "block" if kind in _DISPLAYED else "inline")
        end = found.end()
    yield text[end:]


def with_maths(text: str) -> str:
    """The text as HTML, its formulas as MathML; those that cannot be read stay as they were written."""
    return "".join(html.escape(piece) if isinstance(piece, str) else _mathml(piece) for piece in pieces(text))


def _mathml(formula: Formula) -> str:
    element = formula.element()
    if element is None:
        return f"<code>{html.escape(formula.written)}</code>"
    for part in element.iter():
        _tame(part)
    return tostring(element, encoding="unicode")


def _tame(element: Element) -> None:
    """Keep what draws. The converter writes text with entities in it, and relies on its being written out unescaped."""
    for name in set(element.attrib) - _ATTRIBUTES:
        del element.attrib[name]
    element.text, element.tail = (html.unescape(text) if text else text for text in (element.text, element.tail))
