"""Figures: what is drawn, and that equal comparisons give equal files."""

import sys
import xml.etree.ElementTree as ET

import pytest

from harness.board.report.forest import Panel, Whisker, drawn, forest, inline, reach, themed
from harness.errors import UserError

PANEL = Panel(
    "dmt against sft",
    [
        Whisker("composite", 4.0, 1.0, 7.0, "+", "+4.0 +"),
        Whisker("worse $x_1$", -9.0, -12.0, -6.0, "-", "-9.0 -"),
        Whisker("equal", 0.1, -0.5, 0.7, "=", "+0.1 ="),
        Whisker("unknown", -1.0, -4.0, 2.0, "?", "-1.0 ?"),
        Whisker("exam", None, None, None, "?", "not paired"),
        Whisker("total", 3.0, None, None, "?", "+3.0 ?!"),
    ],
)


def test_each_interval_and_each_value_is_drawn_where_it_belongs():
    (axes, *_) = forest([PANEL], 0.01).axes
    lines = [(list(line.get_xdata()), list(line.get_ydata()), line.get_marker()) for line in axes.lines]
    assert ([1.0, 7.0], [0, 0], "None") in lines
    assert ([4.0], [0], ">") in lines
    assert ([-9.0], [1], "<") in lines
    assert ([0.1], [2], "s") in lines
    assert ([-1.0], [3], "o") in lines
    assert not any(4 in ys for _, ys, _ in lines)  # what is not paired has no place
    assert [ys for _, ys, _ in lines if 5 in ys] == [[5]]  # a total has no interval
    assert [label.get_text() for label in axes.get_yticklabels()] == [one.name for one in PANEL.whiskers]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the composite stands on top


def test_panels_share_a_scale_that_holds_everything():
    low, high = reach([PANEL, Panel("other", [Whisker("composite", 20.0, 10.0, 30.0, "+", "")])], 0.01)
    assert low < -12
    assert high > 30
    first, *_ = forest([PANEL], 0.01, (low, high)).axes
    assert first.get_xlim() == (low, high)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_equal_comparisons_give_equal_files(kind):
    files = {drawn(forest([PANEL], 0.01), kind) for _ in range(2)}
    assert len(files) == 1
    assert files.pop().startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_a_name_may_hold_what_no_figure_can():
    odd = "chat\x1b[2J\n\ufffe\ud83d"
    panel = Panel(odd, [Whisker(odd, 4.0, 1.0, 7.0, "+", "+4.0 +")])
    assert drawn(forest([panel], 0.01), "png").startswith(b"\x89PNG")
    root = ET.fromstring(inline(themed(panel, 0.01, (-20, 20)), "figure0", "a plot"))
    assert "chat\\x1b[2J \\ufffe\\ud83d" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_figure_of_a_page_has_the_pages_colours_and_names_of_its_own():
    text = inline(themed(PANEL, 0.01, (-20, 20)), "figure7", 'a "plot" <b>')
    root = ET.fromstring(text)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "plot" <b>')
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert names
    assert all(name.startswith("figure7-") for name in names)
    assert len(set(names)) == len(names)
    links = [element.get("href") for element in root.iter() if element.get("href")]
    assert links
    assert all(link.removeprefix("#") in names for link in links)
    assert "var(--ink)" in text
    for part in ("#010203", "#020304", "#030405", "#040506", "<style", "<metadata", "purl.org"):
        assert part not in text
    assert "worse $x_1$" in "".join(root.itertext())


def test_what_draws_the_figures_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"matplotlib, which is not installed .*instruct-harness\[report\]"):
        forest([PANEL], 0.01)
