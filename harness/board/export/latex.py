r"""LaTeX: a table for every board, for `\usepackage{booktabs}`.

Each arm has its scores with their intervals, and under them its differences from the baseline with marks and intervals.
The best score of a column is bold only where it can be told apart from every other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.board import text
from harness.board.board import Board, Cell, Line
from harness.board.export.distinguishable import best_rows
from harness.board.export.selection import Export, Selection, Told
from harness.board.marks import Comparison

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

BOLD = "Bold: better than every other arm of its column, at 5 %, adjusted for all pairs of arms."


def as_latex(selection: Selection, told: Told) -> Export:  # noqa: ARG001 (a format)
    """Every board's table in one file."""
    tables = [
        _table(
            board,
            best_rows([selection.rows[line.row] for line in board.lines], selection.scores_of),
            text.legend(_with_baselines(board, selection)),
        )
        for board in selection.boards
    ]
    return Export({"board.tex": "% \\usepackage{booktabs}\n\n" + "\n".join(tables)})


def _with_baselines(board: Board, selection: Selection) -> Board:
    """What the legend speaks of: the lines, and those they are compared with."""
    named = dict.fromkeys(line.baseline for line in board.lines if line.baseline in selection.baselines)
    return board.model_copy(update={"lines": (*board.lines, *(selection.baselines[row] for row in named if row))})


def _table(board: Board, best: Mapping[str, str], legend: Sequence[str]) -> str:
    """The board as a floating table; `best` names the row that is bold in a column."""
    heads = [
        escaped(name) if scale == text.WHOLE else f"{escaped(name)} ({escaped(text.out_of(scale))})"
        for name, _, scale in text.cells(board, board.lines[0])
    ]
    said = [*legend, *([BOLD] if best else [])]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(text.title(board))}}}",
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\toprule",
            rf"Arm & {' & '.join(heads)} \\",
            r"\midrule",
            "\n\\addlinespace\n".join("\n".join(_rows(board, line, best)) for line in board.lines),
            r"\bottomrule",
            r"\end{tabular}",
            *(
                [
                    r"\par\medskip",
                    rf"\begin{{minipage}}{{\linewidth}}\footnotesize {escaped(' '.join(said))}\end{{minipage}}",
                ]
            ),
            r"\end{table}",
            "",
        ]
    )


def escaped(words: str) -> str:
    """Text that LaTeX prints as it stands, on one line."""
    signs = "".join(_ESCAPED.get(sign, sign) for sign in re.sub(r"\s+", " ", words))
    return re.sub(r"-(?=-)", "-{}", signs)  # two of them would join


def _rows(board: Board, line: Line, best: Mapping[str, str]) -> list[str]:
    """Score and interval, difference with mark and interval: one under the other, so that columns are narrow."""
    found = text.cells(board, line)
    differs = [(cell.comparison, scale) for _, cell, scale in found]
    rows = [
        (escaped(line.arm), [_score(cell, scale, bold=best.get(name) == line.row) for name, cell, scale in found]),
        (_small(escaped(text.seeds(line))), [_small(_number(text.interval(cell.interval, s))) for _, cell, s in found]),
    ]
    if any(comparison for comparison, _ in differs):
        rows += [
            ("", [_difference(comparison, scale) for comparison, scale in differs]),
            ("", [_small(_number(text.difference_interval(comparison, scale))) for comparison, scale in differs]),
        ]
    return [rf"{head} & {' & '.join(cells)} \\" for head, cells in rows]


def _score(cell: Cell, scale: float, *, bold: bool) -> str:
    number = _number(text.score(cell, scale))
    return rf"\textbf{{{number}}}" if bold else number


def _difference(comparison: Comparison | None, scale: float) -> str:
    if comparison is None:
        return ""
    mark = text.mark(comparison).replace("-", "$-$")
    return rf"{_number(text.difference(comparison, scale))}\textsuperscript{{{mark}}}"


def _small(words: str) -> str:
    return rf"{{\scriptsize {words}}}" if words else ""


def _number(words: str) -> str:
    """Signed numbers with a real minus; others stay text, which can be bold."""
    parts = re.split(r"([+-]\d+(?:\.\d+)?)", words)
    return "".join(f"${part}$" if odd % 2 else escaped(part) for odd, part in enumerate(parts))
