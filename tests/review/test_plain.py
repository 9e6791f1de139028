"""Formulas in one line of letters and signs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.review.plain import plain


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\frac{1}{2}", "(1/2)"),
        (r"\frac{a+b}{c}x", "((a + b)/c)x"),
        (r"x^{2}_1+\sqrt[3]{x+1}", "x₁² + ³√(x + 1)"),
        (r"\sqrt{x}", "√x"),
        (r"\binom{n}{k}", "(n over k)"),
        (r"\sum_{i=1}^n i", "∑ᵢ₌₁ⁿ i"),
        (r"e^{-x^2/2}", "e^(\u2212x²/2)"),
        (r"a_{n+1}", "aₙ₊₁"),
        (r"\bar{x}", "x\u0304"),
        (r"\overbrace{ab}", "ab^(⏞)"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "(1, 2; 3, 4)"),
        (r"\text{if } x\le 3 \quad y", "if x ≤ 3 y"),
        (r"\sin x", "sin x"),
        (r"f'(x)", "f\u2032(x)"),
        (r"\lim_{x\to0}", "lim_(x→0)"),
        (r"50\%", "50%"),
        (r"\boxed{4}", "[4]"),
    ],
)
def test_formulas(latex, expected):
    for written in (f"${latex}$", f"$${latex}$$", rf"\({latex}\)", rf"\[{latex}\]"):
        assert plain(f"so {written} it is") == f"so {expected} it is"


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $6",
        r"$\frac{$",
        r"$\frac{1}$",
        r"$x=\frac1$",
        r"$\binom{n}$",
        r"$\underset{x}$",
        f"${'{' * 800}x{'}' * 800}$",
        r"$\newcommand{\a}{\a\a}$",
        "a < b & c",
        "`x_1`",
    ],
)
def test_what_is_no_formula_or_cannot_be_read_stays(text):
    assert plain(text) == text


COMMANDS = r"\frac \binom \sqrt \underset \overset \overbrace \bar \boxed \left( \right) \text \sum \\"
TOKENS = st.sampled_from([*COMMANDS.split(), r"\begin{matrix}", r"\end{matrix}", *r"\{}^_&ab12 []()"])


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=20).map("".join), st.sampled_from(["${}$", "$${}$$", r"\({}\)", "{}"]))
def test_any_text_has_a_plain_form(text, marked):
    assert isinstance(plain(marked.replace("{}", text)), str)
