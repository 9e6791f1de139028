"""Scores in words: what the terminal table and the page both say."""

from __future__ import annotations

from harness.board.board import Board, Cell, Comparison, Line
from harness.board.statistics import Interval

COMPOSITE = "composite"
MARKS = {"+": "better", "-": "worse", "?": "not known to differ"}
NONE = "none"


def score(cell: Cell) -> str:
    """`93.2`, in %."""
    return NONE if cell.score is None else f"{100 * cell.score:.1f}"


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """`[91.0, 95.1]`, in % or, with signs, in points."""
    if value is None:
        return ""
    sign = "+" if signed else ""
    return f"[{_clean(value.low, sign)}, {_clean(value.high, sign)}]"


def difference(comparison: Comparison | None) -> str:
    """`+3.1` points; empty for a baseline."""
    if comparison is None:
        return ""
    return "not paired" if comparison.difference is None else _clean(comparison.difference.value, "+")


def mark(comparison: Comparison | None) -> str:
    """`+`, `-` or `?`, with `*` while provisional and `!` where no claim may be made."""
    if comparison is None:
        return ""
    return comparison.mark + ("*" if comparison.provisional else "") + ("!" if comparison.blocked else "")


def difference_interval(comparison: Comparison | None) -> str:
    """`[+1.9, +4.4]` points."""
    found = comparison and comparison.difference
    return interval(found.interval, signed=True) if found else ""


def seeds(line: Line) -> str:
    """`seed 0`, or `3 seeds`."""
    return f"seed {line.seeds[0]}" if len(line.seeds) == 1 else f"{len(line.seeds)} seeds"


def amount(number: float) -> str:
    """`950`, `12.0k`, `1.25M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def training(line: Line) -> tuple[str, str]:
    """What one seed was trained on: examples and tokens, over all stages and epochs."""
    if not line.tokens:
        return "not trained", ""
    return f"{amount(line.examples)} examples", f"{amount(line.tokens)} tokens"


def items(cell: Cell) -> str:
    """`n 200`, with what is missing where anything is."""
    return f"n {cell.items:,}" + (f", {cell.n_missing:,} missing" if cell.n_missing else "")


def legend(board: Board) -> list[str]:
    """What the numbers and signs mean; only the signs that occur are explained."""
    names = {line.row: line.arm for line in board.lines}
    baselines = sorted({names[line.baseline] for line in board.lines if line.baseline})
    comparisons = [
        cell.comparison for line in board.lines for cell in (line.composite, *line.cells.values()) if cell.comparison
    ]
    said = [
        f"Scores in %, with their 95 % interval; n is the number of items. {COMPOSITE}: {board.composite}.",
    ]
    if baselines:
        said.append(f"Below each score: difference from {' or '.join(baselines)} in points, with its 95 % interval.")
    if comparisons:
        said.append(
            "After a difference: + better, - worse, ? not known to differ, at 5 % after adjusting for the number of "
            "comparisons."
        )
    if any(comparison.provisional for comparison in comparisons):
        said.append("* provisional: fewer than five seeds.")
    elif any(comparison.difference and comparison.difference.claim == "checkpoint" for comparison in comparisons):
        said.append("One seed: a claim about these trained models, not about the methods (--seeds 5 for that).")
    said += [f"! no claim: {why}." for why in sorted({one.blocked for one in comparisons if one.blocked})]
    said += [f"{line.arm}: trained on the budget of {line.match}." for line in board.lines if line.match]
    return said


def _clean(value: float, sign: str) -> str:
    """One decimal, and never -0.0."""
    text = f"{100 * value:{sign}.1f}"
    return text.replace("-", "+" if sign else "") if float(text) == 0 else text
