"""Formulas become MathML; everything else, and everything hostile, stays text."""

from html.parser import HTMLParser

import pytest

from harness.grading.latex import with_maths


class Shown(HTMLParser):
    """What a browser would make of it: tags with their attributes, and the text that is seen."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def shown(text):
    return Shown(with_maths(text))


@pytest.mark.parametrize(
    ("text", "display"),
    [
        (r"so $x^2$ it is", "inline"),
        (r"so \(x^2\) it is", "inline"),
        (r"so $$x^2$$ it is", "block"),
        ("so \\[\nx^2\n\\] it is", "block"),
        (r"so \begin{align*}x^2\end{align*} it is", "block"),
    ],
)
def test_every_way_to_write_a_formula_is_drawn(text, display):
    page = shown(text)
    assert page.tags[0] == ("math", {"xmlns": "http://www.w3.org/1998/Math/MathML", "display": display})
    assert "msup" in dict(page.tags)
    assert page.text == "so x2 it is"


@pytest.mark.parametrize(
    "text",
    ["It costs $5 and $6.", "a \\$5 b $ c", "5$", "$ x $", "$a\nb$", "no maths", "", "$$$$"],
)
def test_dollars_that_are_no_formula_stay(text):
    page = shown(text)
    assert (page.tags, page.text) == ([], text)


@pytest.mark.parametrize(
    "formula", [r"\sqrt[3]{x}_{", r"\left( a", "{" * 3000, r"\newcommand{\a}{\b\b}\a", r"\def\a{b}\a", "x" * 5000]
)
def test_a_formula_that_cannot_be_read_is_shown_as_it_was_written(formula):
    page = shown(f"see ${formula}$.")
    assert (page.tags, page.text) == ([("code", {})], f"see ${formula}$.")


def test_letters_and_signs_come_out_as_themselves():
    assert shown(r"$x<3 \leq y \& \alpha$ & <b>").text == "x<3≤y&α & <b>"  # noqa: RUF001 -- alpha
    assert shown(r"$\text{a & b}$").text.replace("\xa0", " ") == "a & b"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        r"$\text{<script>alert(1)</script>}$",
        r"$\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
        r"$\mathrm{<img src=x onerror=alert(1)>}$",
        r"$\href{javascript:alert(1)}{x}$",
        r'$\style{background:url("http://example.org")}{x}$',
        r"$\class{a}{x} \id{b}{y} \cssId{c}{z}$",
        r"$\color{red;background:url(x)}{x}$",
        r'$x" onmouseover="alert(1)$',
        "$</math><script>alert(1)</script>$",
        r"\begin{array}{c|<script>}a\end{array}",
    ],
)
def test_nothing_that_a_model_writes_becomes_more_than_a_formula(text):
    page = shown(text)
    maths = {"math", "code"}
    assert all(tag in maths or tag.startswith("m") for tag, _ in page.tags)
    allowed = {"xmlns", "display", "displaystyle", "columnalign", "columnlines", "columnspacing", "rowspacing"}
    allowed |= {"stretchy", "fence", "form", "mathvariant", "minsize", "maxsize", "linebreak", "width", "notation"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed
    assert not any("url(" in value or "script" in value for _, of in page.tags for value in of.values())
