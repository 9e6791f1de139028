"""Forest plots: differences with their intervals, one panel for each comparison. Drawn by matplotlib.

Marks differ in shape as well as colour, and the colours are those of Okabe and Ito (2008), which colour-blind people
tell apart and which stay apart in print.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.visible import in_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SVG = "http://www.w3.org/2000/svg"

WIDTH = 6.5
"""Inches: the text of a page."""
_ROW, _TITLE, _AXIS = 0.25, 0.35, 0.5
DPI = 300


@dataclass(frozen=True)
class Whisker:
    """A difference in points of 100."""

    name: str
    value: float | None
    """None where the two cannot be paired."""
    low: float | None
    high: float | None
    mark: str
    """`+`, `-`, `=` or `?`."""
    label: str
    """The number as it stands beside it."""


@dataclass(frozen=True)
class Panel:
    """One comparison."""

    title: str
    whiskers: Sequence[Whisker]
    """The composite first."""


@dataclass(frozen=True)
class Palette:
    """What is drawn with which colour, beside the marks."""

    ink: str
    soft: str
    line: str
    paper: str


PRINTED = Palette(ink="#000000", soft="#555555", line="#d0d0d0", paper="#ffffff")
_THEMED = Palette(ink="#010203", soft="#020304", line="#030405", paper="#040506")
"""Colours that stand for those of the page that the figure is in."""

_MARKS = {"+": (">", "#0072b2"), "-": ("<", "#d55e00"), "=": ("s", "#009e73"), "?": ("o", None)}
"""Shape and colour; what is not known is open."""


def reach(panels: Sequence[Panel], margin: float) -> tuple[float, float]:
    """From where to where the panels go, with some space."""
    ends = [end for panel in panels for one in panel.whiskers for end in (one.low, one.value, one.high)]
    known = [-100 * margin, 100 * margin, *(end for end in ends if end is not None)]
    space = 0.04 * (max(known) - min(known)) or 1.0
    return min(known) - space, max(known) + space


def forest(
    panels: Sequence[Panel], margin: float, scale: tuple[float, float] | None = None, palette: Palette = PRINTED
) -> Figure:
    """The panels one under the other on one scale; the band is where differences are as good as none.

    Raises UserError where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UserError("figures are drawn by matplotlib, which is not installed", INSTALL) from error
    with mpl.rc_context({"text.parse_math": False}):  # names may hold a $
        return _forest(panels, margin, scale or reach(panels, margin), palette)


def _forest(panels: Sequence[Panel], margin: float, scale: tuple[float, float], palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    rows = [len(panel.whiskers) for panel in panels]
    height = _AXIS + _TITLE * sum(bool(panel.title) for panel in panels) + _ROW * sum(rows)
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=palette.paper)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=rows)[:, 0]
    for place, panel in zip(axes, panels, strict=True):
        _draw(place, panel, margin, palette)
    axes[-1].set_xlim(*scale)
    for place in axes[:-1]:
        place.tick_params(axis="x", length=0)
    axes[-1].set_xlabel("difference in points of 100, with its 95 % interval", color=palette.ink, fontsize=8)
    return figure


def drawn(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file; equal figures give equal files."""
    return _saved(figure, kind, {"svg.fonttype": "path", "svg.hashsalt": "harness"})


def inline(figure: Figure, name: str, description: str) -> str:
    """The figure as an element of a page, whose colours follow the page's: `name` keeps its parts apart from others'.

    It is to be drawn with `themed` as its palette.
    """
    ET.register_namespace("", _SVG)
    root = ET.fromstring(_saved(figure, "svg", {"svg.fonttype": "none", "svg.hashsalt": name}))  # noqa: S314 -- ours
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:  # which would hold for the whole page
                parent.remove(child)
        for attribute, value in list(parent.attrib.items()):
            del parent.attrib[attribute]
            plain = attribute.rpartition("}")[2]
            parent.set(plain, _themed(value, plain, name))
    for attribute in ("width", "height"):
        root.attrib.pop(attribute)
    root.attrib |= {"role": "img", "aria-label": in_one_line(description)}
    written: str = ET.tostring(root, encoding="unicode")
    return written


def themed(panel: Panel, margin: float, scale: tuple[float, float]) -> Figure:
    """One panel for `inline`, below a heading of the page."""
    return forest([replace(panel, title="")], margin, scale, _THEMED)


def _themed(value: str, attribute: str, name: str) -> str:
    """An attribute with the page's colours, and with the names of parts set apart."""
    for field, colour in vars(_THEMED).items():
        value = value.replace(colour, f"var(--{field})")
    if attribute == "id":
        return f"{name}-{value}"
    return re.sub(r"(url\(|^)#", rf"\1#{name}-", value)


INSTALL = "pip install 'instruct-harness[report]'"


def _saved(figure: Figure, kind: str, settings: dict[str, Any]) -> bytes:
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context(settings):
        about = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=DPI, metadata=about)
    return out.getvalue()


def _draw(axes: Axes, panel: Panel, margin: float, palette: Palette) -> None:
    places = range(len(panel.whiskers))
    axes.axvspan(-100 * margin, 100 * margin, color=palette.line, alpha=0.45, linewidth=0)
    axes.axvline(0, color=palette.soft, linewidth=0.8)
    for place, one in zip(places, panel.whiskers, strict=True):
        if one.value is None:
            continue
        shape, colour = _MARKS[one.mark]
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=colour or palette.soft, linewidth=1.4)
        face = colour or palette.paper
        edge = colour or palette.soft
        axes.plot([one.value], [place], shape, markersize=6, markerfacecolor=face, markeredgecolor=edge)
    if len(panel.whiskers) > 1:
        axes.axhline(0.5, color=palette.line, linewidth=0.8)  # below the composite
    if panel.title:
        axes.set_title(in_one_line(panel.title), loc="left", fontsize=9, fontweight="bold", color=palette.ink)
    axes.set_yticks(list(places), [in_one_line(one.name) for one in panel.whiskers], fontsize=8, color=palette.ink)
    axes.set_ylim(len(panel.whiskers) - 0.5, -0.5)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(list(places), [one.label for one in panel.whiskers], fontsize=8, color=palette.ink)
    for side in (axes, beside):
        side.tick_params(axis="y", length=0)
        for spine in side.spines.values():
            spine.set_visible(False)
    axes.tick_params(axis="x", colors=palette.soft, labelsize=8)
    axes.set_facecolor(palette.paper)
