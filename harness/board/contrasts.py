"""Chosen arms against each other: every comparison that was asked for, with all that it says, as one record.

A contrast is one arm minus another. All contrasts of one record that claim something are one family: their composites
are adjusted for their number by Holm, their benchmarks by Benjamini and Hochberg.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Literal

import pydantic

from harness.board.board import Column, columns_of, composite_interval
from harness.board.compare import (
    ItemsOf,
    ScoresOf,
    baseline_of,
    common_seeds,
    compare,
    compare_composites,
    item_difference,
    items_of,
    why_not,
)
from harness.board.intervals import Interval
from harness.board.marks import LEVEL, MARGIN, Comparison, benjamini_hochberg, holm, marked_comparisons
from harness.board.measures import other_rule
from harness.board.numbers import Part
from harness.board.ranks import standings
from harness.board.rows import Row
from harness.errors import UserError


class Side(Part):
    """An arm that is compared."""

    row: str
    arm: str
    label: str
    """The arm, with the beginning of the row's id where several arms have one name."""
    seeds: tuple[int, ...]
    one_model: bool
    """Its seeds are draws of one model's answers."""
    composite: float | None
    interval: Interval | None
    """The composite's: over seeds where they differ, else over items."""
    cells: dict[str, float | None]
    rank: int | None
    rank_low: int | None
    rank_high: int | None
    group: int | None
    """Among the arms compared here; as on a board."""


class Contrast(Part):
    """One arm minus another."""

    arm: str
    """Id of the row."""
    base: str
    """Id of the row that is subtracted."""
    seeds: tuple[int, ...]
    """Those that both have."""
    composite: Comparison
    cells: dict[str, Comparison]
    by_seed: dict[int, float]
    """The composite's difference, seed by seed."""
    spread_over_seeds: float | None
    """Standard deviation of these; None with one seed."""
    spread_over_items: float | None
    """Standard error of one seed's difference by its items alone; None where there is none."""


class Contrasts(Part):
    """Chosen arms against each other."""

    schema_version: Literal[1] = 1
    suite: str
    suite_version: int | None
    suite_sha256: str
    benchmarks: dict[str, Column]
    composite: str
    """The rule of the composite, declared by the suite."""
    limit: int | None
    level: float = LEVEL
    margin: float
    sides: tuple[Side, ...]
    """By descending composite."""
    contrasts: tuple[Contrast, ...] = pydantic.Field(min_length=1)


Pairs = Sequence[tuple[Row, Row]]
"""Arms and what is subtracted from each."""


def against_first(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Every row against the first."""
    return [(row, rows[0]) for row in rows[1:]]


def against_baseline(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Every row against its own baseline, where it has one; else against the first."""
    found = [(row, base) for row in rows if (base := baseline_of(row, rows)) is not None]
    return found or against_first(rows)


def all_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Every two rows, the later one against the earlier."""
    return [(b, a) for a, b in combinations(rows, 2)]


def contrasts(rows: Sequence[Row], pairs: Pairs, scores_of: ScoresOf, margin: float = MARGIN) -> Contrasts:
    """The record. `rows` are ranked among each other; `pairs` are of them.

    Raises UserError where two rows are one, or were not asked and scored alike.
    """
    if len(rows) < 2:  # noqa: PLR2004
        raise UserError("one arm is no comparison", "name another one")
    items = items_of(rows, scores_of)
    for row, base in pairs:
        refuse_mismatched(row, base, items)
    first = rows[0].result
    directions = {"": True} | {name: task.higher_is_better for name, task in first.tasks.items()}
    composites = {(_key(row, base), ""): compare_composites(row, base, items) for row, base in pairs}
    cells = {(_key(row, base), name): compare(row, base, name, items) for row, base in pairs for name in first.tasks}
    marked = marked_comparisons(composites, holm, directions, margin) | marked_comparisons(
        cells, benjamini_hochberg, directions, margin
    )
    return Contrasts(
        suite=first.suite.name,
        suite_version=first.suite.version,
        suite_sha256=first.suite.sha256,
        benchmarks=columns_of(rows),
        composite=first.composite.rule,
        limit=first.limit,
        margin=margin,
        sides=_sides(rows, items),
        contrasts=tuple(_contrast(row, base, marked, items) for row, base in pairs),
    )


def refuse_mismatched(row: Row, base: Row, items: ItemsOf) -> None:
    """Raise UserError that names the first thing in which two rows were not asked and scored alike."""
    if row.id == base.id:
        raise UserError(f"{row.result.arm} is compared with itself", "`--aa` measures what noise does to one arm")
    names = f"{base.result.arm} and {row.result.arm} cannot be compared"
    if why := _otherwise_asked(row, base):
        raise UserError(f"{names}: {why}", "evaluate both under one version of the suite, with one judge and limit")
    scored = [name for name, task in row.result.tasks.items() if task.score is not None]
    both = [name for name in scored if base.result.tasks[name].score is not None]
    if why := why_not(row, base, both, common_seeds(row, base), items):
        remedy = "run both with the same --seeds" if "seed" in why else "evaluate both on the same version of its data"
        raise UserError(f"{names}: {why}", remedy)


def _otherwise_asked(row: Row, base: Row) -> str:
    mine, theirs = base.result, row.result
    if mine.suite.name != theirs.suite.name or mine.suite.version != theirs.suite.version:
        return f"one was asked {_suite(base)}, the other {_suite(row)}"
    for name in mine.tasks.keys() & theirs.tasks.keys():
        a, b = mine.tasks[name], theirs.tasks[name]
        for what in ("protocol", "score_name"):
            if getattr(a, what) != getattr(b, what):
                return f"{name} has the {what.replace('_name', '')} {getattr(a, what)} and {getattr(b, what)}"
        if why := other_rule(b, a):
            return f"{name} is not scored alike: {why}"
        judges = [_judges(one, name) for one in (base, row)]
        if judges[0] != judges[1]:
            return f"{name} was judged by {judges[0] or 'nobody'} and by {judges[1] or 'nobody'}"
    if mine.limit != theirs.limit:
        return f"one was asked {mine.limit or 'all'} items of each benchmark, the other {theirs.limit or 'all'}"
    return "" if mine.suite.sha256 == theirs.suite.sha256 else f"their suites {_suite(row)} differ"


def _suite(row: Row) -> str:
    suite = row.result.suite
    return suite.name if suite.version is None else f"{suite.name} {suite.version}"


def _judges(row: Row, benchmark: str) -> str:
    """Who judged it: models by name and version, as the evaluations say."""
    found = [seed.evaluations[benchmark].prompts.get("judge") for seed in row.result.seeds]
    return ", ".join(sorted({str(judge) if not isinstance(judge, dict) else _judge(judge) for judge in found if judge}))


def _judge(judge: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(judge.items()) if value is not None)


def _key(row: Row, base: Row) -> str:
    return f"{row.id} {base.id}"


def _sides(rows: Sequence[Row], items: ItemsOf) -> tuple[Side, ...]:
    found = standings(rows, items)
    named = Counter(row.result.arm for row in rows)
    sides = []
    for row in sorted(rows, key=lambda row: -(row.result.composite.score or float("-inf"))):
        result, standing = row.result, found.get(row.id)
        sides.append(
            Side(
                row=row.id,
                arm=result.arm,
                label=result.arm if named[result.arm] == 1 else f"{result.arm} {row.id[:8]}",
                seeds=tuple(result.composite.seeds),
                one_model=result.one_model and len(result.seeds) > 1,
                composite=result.composite.score,
                interval=composite_interval(row, items),
                cells={name: task.score for name, task in result.tasks.items()},
                rank=standing and standing.rank,
                rank_low=standing and standing.low,
                rank_high=standing and standing.high,
                group=standing and standing.group,
            )
        )
    return tuple(sides)


def _contrast(row: Row, base: Row, marked: Mapping[tuple[str, str], Comparison], items: ItemsOf) -> Contrast:
    seeds = common_seeds(row, base)
    scores = [one.result.composite.seeds for one in (row, base)]
    by_seed = {
        seed: mine - theirs
        for seed in seeds
        if (mine := scores[0][seed]) is not None and (theirs := scores[1][seed]) is not None
    }
    errors = [one.error for seed in by_seed if (one := item_difference(row, base, [seed], items)) and one.error]
    return Contrast(
        arm=row.id,
        base=base.id,
        seeds=tuple(seeds),
        composite=marked[_key(row, base), ""],
        cells={name: marked[_key(row, base), name] for name in row.result.tasks},
        by_seed=by_seed,
        spread_over_seeds=stdev(by_seed.values()) if len(by_seed) > 1 else None,
        spread_over_items=fmean(error**2 for error in errors) ** 0.5 if errors else None,
    )
