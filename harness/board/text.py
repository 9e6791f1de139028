"""Scores in words: what the terminal table and the page both say."""

from __future__ import annotations

from harness.board.board import Board, Cell, Line
from harness.board.compare import Comparison
from harness.board.statistics import Interval

COMPOSITE = "composite"
NONE = "none"

_MANY_HOURS = 100

NOTES = {
    "stopped_by_length": "answers cut by length",
    "prompts_cut": "prompts cut to fit the context",
    "unparsed": "answers in which no result was found",
}
"""Counts of a cell that are told below the table."""


def score(cell: Cell) -> str:
    """`93.2`, in %."""
    return NONE if cell.score is None else f"{100 * cell.score:.1f}"


def interval(value: Interval | None) -> str:
    """`[91.0, 95.1]`, in % or in points."""
    return "" if value is None else f"[{_number(value.low)}, {_number(value.high)}]"


def difference(comparison: Comparison | None) -> str:
    """`+3.1` points; empty for a baseline."""
    if comparison is None:
        return ""
    return "not paired" if comparison.difference is None else _number(comparison.difference.value, "+")


def mark(comparison: Comparison | None) -> str:
    """`+`, `-` or `?`, with `*` while provisional and `!` where no claim may be made."""
    if comparison is None:
        return ""
    return comparison.mark + ("*" if comparison.provisional else "") + ("!" if comparison.blocked else "")


def difference_interval(comparison: Comparison | None) -> str:
    """`[-1.9, 4.4]` points."""
    found = comparison and comparison.difference
    return interval(found.interval) if found else ""


def seeds(line: Line) -> str:
    """`seed 0`, or `3 seeds`."""
    return f"seed {line.seeds[0]}" if len(line.seeds) == 1 else f"{len(line.seeds)} seeds"


def amount(number: float) -> str:
    """`950`, `12.0k`, `1.25M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def training(line: Line) -> list[str]:
    """What one seed was trained on, over all stages and epochs, and what of it was begun anew."""
    trained = [f"{amount(line.examples)} examples", f"{amount(line.tokens)} tokens"] if line.tokens else ["not trained"]
    return [*trained, *(f"restarted: {stage}" for stage in line.restarted)]


def spent(device_hours: float) -> str:
    """`1,250 device-hours`, `3.4 device-hours`, `2.5 device-minutes`."""
    if device_hours < 1:
        return f"{60 * device_hours:.1f} device-minutes"
    return f"{device_hours:,.0f} device-hours" if device_hours >= _MANY_HOURS else f"{device_hours:.1f} device-hours"


def items(cell: Cell) -> str:
    """`n 200`."""
    return f"n {cell.items:,}"


def missing(cell: Cell) -> str:
    """`3 missing`, over all seeds; empty where nothing is."""
    return f"{cell.n_missing:,} missing" if cell.n_missing else ""


def legend(board: Board) -> list[str]:
    """What the numbers and signs mean; only what occurs is explained."""
    names = {line.row: line.arm for line in board.lines}
    baselines = sorted({names[line.baseline] for line in board.lines if line.baseline})
    comparisons = [
        cell.comparison for line in board.lines for cell in (line.composite, *line.cells.values()) if cell.comparison
    ]
    said = [
        "Scores in %, with their 95 % interval, cut at 0 and 100; n: items asked.",
        f"{COMPOSITE}: {board.composite} of the benchmarks.",
    ]
    lower = [name for name, column in board.benchmarks.items() if not column.higher_is_better]
    if lower:
        said.append(f"Lower is better: {', '.join(lower)}.")
    if baselines:
        against = " or ".join(baselines)
        said += [
            f"After the score, the difference from {against} in points with its 95 % interval, cut at -100 and 100.",
            "+ better, - worse, ? not known to differ: at 5 %, adjusted for the number of comparisons.",
            "The intervals are not adjusted for that number.",
        ]
    if any(len(line.seeds) == 1 for line in board.lines):
        said.append("One seed speaks of these trained models, not of the methods: for that, --seeds 5.")
    if any(comparison.provisional for comparison in comparisons):
        said.append("* provisional: fewer than five seeds.")
    if any(_over_items(line) for line in board.lines):
        said.append("Where all seeds show the same difference, its interval is over the first seed's items.")
    said += [f"! no claim: {why}." for why in sorted({one.blocked for one in comparisons if one.blocked})]
    said += [f"{line.arm}: matched, {line.match}." for line in board.lines if line.match]
    if any(line.restarted for line in board.lines):
        said.append("restarted: the stage was begun anew with --restart-stage after it had left a checkpoint.")
    took = [f"{line.arm} {spent(line.device_hours)}" for line in board.lines if line.device_hours is not None]
    if took:
        said.append(f"Took, with all seeds: {', '.join(took)}.")
    if board.limit is not None:
        said.append(f"limit {board.limit}: only so many items of each benchmark were asked; not publishable.")
    return said + _notes(board)


def _notes(board: Board) -> list[str]:
    """What befell prompts and answers, where anything did.

    `gsm8k: answers cut by length: dmt+im 12 of 1,319, sft 7 of 1,319.`
    """
    said = []
    for name in board.benchmarks:
        cells = [(line.arm, line.cells[name], len(line.seeds)) for line in board.lines]
        for count, what in NOTES.items():
            found = [
                f"{arm} {number:,} of {seeds * cell.items:,}"
                for arm, cell, seeds in cells
                if (number := getattr(cell, count))
            ]
            if found:
                said.append(f"{name}: {what}: {', '.join(found)}.")
    return said


def _over_items(line: Line) -> bool:
    """A line of several seeds with a difference in which they do not differ."""
    comparisons = [cell.comparison for cell in (line.composite, *line.cells.values())]
    differences = [one.difference for one in comparisons if one is not None and one.difference is not None]
    return len(line.seeds) > 1 and any(difference.claim == "checkpoint" for difference in differences)


def _number(value: float, sign: str = "") -> str:
    """A share in % with one decimal, and never -0.0."""
    return f"{round(100 * value, 1) + 0.0:{sign}.1f}"
