"""Text with LaTeX in it, as HTML with MathML, which browsers draw by themselves; safe, whatever a model wrote."""

from __future__ import annotations

import html
import re
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


def with_maths(text: str) -> str:
    """The text as HTML, its formulas as MathML; those that cannot be read stay as they were written."""
    parts, end = [], 0
    for found in _MATHS.finditer(text):
        parts += [html.escape(text[end : found.start()]), _formula(found)]
        end = found.end()
    return "".join([*parts, html.escape(text[end:])])


def _formula(found: re.Match[str]) -> str:
    kind = next(name for name, content in found.groupdict().items() if content is not None)
    mathml = _mathml(found[kind], "block" if kind in _DISPLAYED else "inline")
    return mathml or f"<code>{html.escape(found[0])}</code>"


def _mathml(latex: str, display: str) -> str | None:
    from latex2mathml.converter import Converter

    if len(latex) > _LONGEST or _MACROS.search(latex):  # macros can grow without bound
        return None
    try:
        formula = Converter(display=display).convert_to_element(latex)
    except Exception:  # noqa: BLE001 -- it raises whatever a broken formula leads to, IndexError and RecursionError too
        return None
    for element in formula.iter():
        _tame(element)
    return tostring(formula, encoding="unicode")


def _tame(element: Element) -> None:
    """Keep what draws. The converter writes text with entities in it, and relies on its being written out unescaped."""
    for name in set(element.attrib) - _ATTRIBUTES:
        del element.attrib[name]
    element.text, element.tail = (html.unescape(text) if text else text for text in (element.text, element.tail))
