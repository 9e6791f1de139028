r"""The comparisons as a LaTeX table, for `\usepackage{booktabs}`, to be copied out of the report."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board import contrasttext as words
from harness.board import text
from harness.board.contrasts import Contrast, Contrasts
from harness.board.export.tex import escaped, number, raised, table

HEAD = ("", "Arm", "Other", "Difference", r"95 \% interval", r"$p$", "Detects")


def latex(made: Contrasts, methods: Sequence[str]) -> str:
    """The table, and the methods as a paragraph."""
    title = f"{made.suite}: differences between arms"
    blocks = [_block(made, one) for one in made.contrasts]
    return f"{table(title, HEAD, blocks, ' '.join(words.legend(made)))}\n{escaped(' '.join(methods))}\n"


def _block(made: Contrasts, one: Contrast) -> list[list[str]]:
    """A line that names the two, then one for the composite and each benchmark."""
    sides = {side.row: side for side in made.sides}
    arm, base = sides[one.arm], sides[one.base]
    named = rf"\emph{{{escaped(arm.label)} against {escaped(base.label)}}}"
    return [
        [rf"\multicolumn{{{len(HEAD)}}}{{l}}{{{named}}}"],
        *(
            [
                escaped(name),
                number(words.score(score, scale)),
                number(words.score(other, scale)),
                number(text.difference(compared, scale)) + raised(text.mark(compared)),
                number(text.difference_interval(compared, scale)),
                number(words.p_value(compared.adjusted_p)),
                number(words.detects(compared.detectable, scale)),
            ]
            for name, scale, score, other, compared in words.rows(made, one, arm, base)
        ),
    ]
