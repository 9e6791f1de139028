"""Scores in words: what the terminal table and the page both say."""

from __future__ import annotations

import math
from collections.abc import Container

from harness.board.board import Board, Cell, Line
from harness.board.intervals import Interval
from harness.board.marks import MARGIN, Comparison

WHOLE = 100.0
"""Scores are shown out of so much, unless their benchmark has another scale."""

COMPOSITE = "composite"
NONE = "none"

_MANY_HOURS = 100

NOTES = {
    "stopped_by_length": "answers cut by length",
    "prompts_cut": "prompts cut to fit the context",
    "unparsed": "answers in which no result was found",
    "alike": "near copies of one answer, by which a judge may have been won over",
}
"""Counts of a cell that are told below the table."""


def title(board: Board) -> str:
    """`playground`, `dmt 1`."""
    return board.suite if board.suite_version is None else f"{board.suite} {board.suite_version}"


def cells(board: Board, line: Line) -> list[tuple[str, Cell, float]]:
    """What a line shows, each with its name and scale: the composite, the groups, the benchmarks."""
    return [
        (COMPOSITE, line.composite, WHOLE),
        *((group, cell, WHOLE) for group, cell in line.groups.items()),
        *((name, line.cells[name], column.out_of) for name, column in board.benchmarks.items()),
    ]


def score(cell: Cell, out_of: float = WHOLE) -> str:
    """`93.2` out of 100, `6.53` out of 10."""
    return NONE if cell.score is None else number(cell.score, out_of)


def interval(value: Interval | None, out_of: float = WHOLE) -> str:
    """`[91.0, 95.1]`, on the scale of the score."""
    return "" if value is None else f"[{number(value.low, out_of)}, {number(value.high, out_of)}]"


def difference(comparison: Comparison | None, out_of: float = WHOLE) -> str:
    """`+3.1` points; empty for a baseline."""
    if comparison is None:
        return ""
    return "not paired" if comparison.difference is None else number(comparison.difference.value, out_of, "+")


def mark(comparison: Comparison | None) -> str:
    """`+`, `-`, `=` or `?`, with `*` while provisional and `!` where no claim may be made."""
    if comparison is None:
        return ""
    return comparison.mark + ("*" if comparison.provisional else "") + ("!" if comparison.blocked else "")


def difference_interval(comparison: Comparison | None, out_of: float = WHOLE) -> str:
    """`[-1.9, 4.4]` points."""
    found = comparison and comparison.difference
    return interval(found.interval, out_of) if found else ""


def ranks(line: Line) -> str:
    """`1-3`, where a row may have several; else empty."""
    if line.rank_low is None or line.rank_low == line.rank_high:
        return ""
    return f"{line.rank_low}-{line.rank_high}"


def points(share: float) -> str:
    """`1 point`, `2.5 points`, of 100."""
    return "1 point" if share == MARGIN else f"{WHOLE * share:.3g} points"


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


def out_of(scale: float) -> str:
    """`out of 10`; empty for the usual scale."""
    return "" if scale == WHOLE else f"out of {scale:g}"


def missing(cell: Cell) -> str:
    """`3 missing`, over all seeds; empty where nothing is."""
    return f"{cell.n_missing:,} missing" if cell.n_missing else ""


def legend(board: Board) -> list[str]:
    """What the numbers and signs mean, and what befell each arm; only what occurs is explained."""
    return explanations(board) + told(board)


def explanations(board: Board) -> list[str]:
    """What the numbers and signs mean, as far as they occur."""
    names = {line.row: line.arm for line in board.lines}
    baselines = sorted({names[line.baseline] for line in board.lines if line.baseline})
    comparisons = [
        cell.comparison for line in board.lines for cell in (line.composite, *line.cells.values()) if cell.comparison
    ]
    said = [
        *([f"Suite {title(board)}."] if board.suite_version is not None else []),
        "Scores in %, with their 95 % interval, cut at 0 and 100; n: items asked.",
        f"{COMPOSITE}: {board.composite}{'' if board.lines[0].groups else ' of the benchmarks'}.",
        *_scales(board),
    ]
    lower = [name for name, column in board.benchmarks.items() if not column.higher_is_better]
    if lower:
        said.append(f"Lower is better: {', '.join(lower)}.")
    if baselines:
        said += _differences(board, " or ".join(baselines), {one.mark for one in comparisons})
    said += _ranges(board)
    if any(line.one_model for line in board.lines):
        said.append("The seeds of a model that is not trained are averaged, item by item.")
    if any(len(line.seeds) == 1 and line.tokens for line in board.lines):
        said.append("One seed speaks of these trained models, not of the methods: for that, --seeds 5.")
    if any(comparison.provisional for comparison in comparisons):
        said.append("* provisional: fewer than five seeds. Ranks that rest on so few are, too.")
    lines = {line.row: line for line in board.lines}
    if any(_over_items(line, lines[line.baseline]) for line in board.lines if line.baseline):
        said.append("Where all seeds show the same difference, its interval is over the first seed's items.")
    said += [f"! no claim: {why}." for why in sorted({one.blocked for one in comparisons if one.blocked})]
    if any(line.restarted for line in board.lines):
        said.append("restarted: the stage was begun anew with --restart-stage after it had left a checkpoint.")
    if board.limit is not None:
        said.append(f"limit {board.limit}: only so many items of each benchmark were asked; not publishable.")
    return said


def told(board: Board) -> list[str]:
    """What is to be said of single arms."""
    took = [f"{line.arm} {spent(line.device_hours)}" for line in board.lines if line.device_hours is not None]
    return [
        *(f"{line.arm}: no composite without {', '.join(line.missing)}." for line in board.lines if line.missing),
        *(f"{line.arm}: matched, {line.match}." for line in board.lines if line.match),
        *([f"Took, with all seeds: {', '.join(took)}."] if took else []),
        *befallen(board),
    ]


def _differences(board: Board, against: str, marks: Container[str]) -> list[str]:
    """What stands after the scores of arms that are compared with another."""
    equal = [f"= equal within {points(board.margin)}, adjusted likewise."] if "=" in marks else []
    return [
        f"After the score, the difference from {against} in points with its 95 % interval, cut at -100 and 100.",
        "+ better, - worse, ? not known to differ: at 5 %, adjusted for the number of comparisons; intervals are not.",
        *equal,
        *_out_of_reach(board),
    ]


def _ranges(board: Board) -> list[str]:
    several = any(ranks(line) for line in board.lines)
    said = "(a-b): the ranks a row may have, for all rows at once with 95 % confidence, all pairs compared."
    return [said] if several else []


def _out_of_reach(board: Board) -> list[str]:
    """What has too few items or seeds for `=`, even were no difference found."""
    names = [
        name
        for n, (name, _, _) in enumerate(cells(board, board.lines[0]))
        if any(found := [cells(board, line)[n][1].comparison for line in board.lines])
        and all(one is None or (one.attainable_margin or math.inf) > board.margin for one in found)
    ]
    return [f"Too few items or seeds to find = within {points(board.margin)}: {', '.join(names)}."] if names else []


def _scales(board: Board) -> list[str]:
    """Where scores are not shares in %."""
    scales = [f"{name} {out_of(column.out_of)}" for name, column in board.benchmarks.items() if out_of(column.out_of)]
    beyond = [name for name, column in board.benchmarks.items() if not column.bounded]
    return [
        *([f"Other scales: {', '.join(scales)}."] if scales else []),
        *([f"Not cut, since some items lie beyond: {', '.join(beyond)}."] if beyond else []),
    ]


def befallen(board: Board) -> list[str]:
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
        unscored = [
            f"{arm} {', '.join(f'{number:,} {_words(kind)}' for kind, number in cell.unscored.items())}"
            for arm, cell, _ in cells
            if cell.unscored
        ]
        if unscored:
            said.append(f"{name}: missing: {'; '.join(unscored)}.")
    return said


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _over_items(line: Line, base: Line) -> bool:
    """Several models on each side of a difference in which they do not vary, so that its interval is over items."""
    several = len({*line.seeds} & {*base.seeds}) > 1 and not (line.one_model and base.one_model)
    compared = [cell.comparison for cell in (line.composite, *line.cells.values())]
    found = [one.difference for one in compared if one is not None and one.difference is not None]
    return several and any(one.claim == "checkpoint" and one.interval is not None for one in found)


def number(value: float, out_of: float = WHOLE, sign: str = "") -> str:
    """A share on its scale, with one decimal out of 100 and two out of 10, and never -0.0."""
    digits = max(0, 3 - math.floor(math.log10(out_of)))
    return f"{round(out_of * value, digits) + 0.0:{sign}.{digits}f}"
