"""What LaTeX tables are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.visible import visible

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # the end of a line may have an option
    "*": "{*}",  # as above
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escaped(words: str) -> str:
    """Text that LaTeX prints as it stands, on one line; it takes no control characters, which are spelled out."""
    signs = "".join(_ESCAPED.get(sign, sign) for sign in visible(re.sub(r"\s+", " ", words)))
    return re.sub(r"-(?=-)", "-{}", signs)  # two of them would join


def small(words: str) -> str:
    """In script size."""
    return rf"{{\scriptsize {words}}}" if words else ""


def number(words: str) -> str:
    """Signed numbers with a real minus; others stay text, which can be bold."""
    parts = re.split(r"([+-]\d+(?:\.\d+)?)", words)
    return "".join(f"${part}$" if odd % 2 else escaped(part) for odd, part in enumerate(parts))


def raised(mark: str) -> str:
    """A mark, behind its number."""
    return rf"\textsuperscript{{{mark.replace('-', '$-$')}}}" if mark else ""


def table(caption: str, head: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]], notes: str) -> str:
    """A floating table: lines of cells, in blocks with some space between, and small print below.

    Everything but caption and notes is LaTeX already. The first column is flushed left, the others right.
    """
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            _line(head),
            r"\midrule",
            "\n\\addlinespace\n".join("\n".join(map(_line, block)) for block in blocks),
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip",
            rf"\begin{{minipage}}{{\linewidth}}\footnotesize {escaped(notes)}\end{{minipage}}",
            r"\end{table}",
            "",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
