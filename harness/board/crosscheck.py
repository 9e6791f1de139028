"""What published rows must agree on among each other.

Who says what twice, or replaces whom; which items were asked, what they weigh, and how they make a number; who judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.board.chain import LEDGER, Chain, Entry
from harness.board.judges import judge_gaps, judged_benchmarks
from harness.board.measures import other_rule
from harness.board.numbers import Measure
from harness.board.rows import Row
from harness.board.samples import Sample, scores_by_item

Item = tuple[str, str]
"""Id and content hash."""

Items = frozenset[Item]

Question = tuple[str, int | None, str]
"""Digest of a suite, its limit, and one of its benchmarks. Whatever the recipe, the same items are asked."""


def twins(rows: Iterable[Row]) -> Iterator[str]:
    """Rows on the board that claim the same, whatever was measured on the way."""
    claims: dict[str, Row] = {}
    for row in rows:
        first = claims.setdefault(row.result.said(), row)
        if first is not row:
            yield f"{row.title}: says the same as {first.title}"


def put_back(chain: Chain, rows: Sequence[Row]) -> Iterator[str]:
    """Rows on the board that claim what was retracted."""
    reasons, standing = chain.retracted(), set(chain.standing())
    gone = {row.result.said(): row for row in rows if row.id in reasons}
    for row in rows:
        if row.id in standing and (same := gone.get(row.result.said())):
            yield f"{row.title}: says the same as {same.title}, which was retracted: {reasons[same.id]}"


def usurped(entries: Sequence[Entry], rows: Iterable[Row]) -> Iterator[str]:
    """Rows that took the place of another arm, or of one that was asked another suite."""
    by_id = {row.id: row for row in rows}
    for number, entry in enumerate(entries, start=1):
        row, replaced = by_id.get(entry.row), by_id.get(entry.supersedes or "")
        if row is not None and replaced is not None and row.place[1:] != replaced.place[1:]:
            yield f"{LEDGER}:{number}: {row.title} replaces {replaced.title}, which is not its arm on its suite"


def otherwise_measured(rows: Iterable[Row]) -> Iterator[str]:
    """Rows whose numbers are made by another rule than those of the first row with that benchmark and protocol."""
    known: dict[tuple[str, str], Row] = {}
    for row in rows:
        for name, task in row.result.tasks.items():
            first = known.setdefault((name, task.protocol), row)
            if why := other_rule(task, first.result.tasks[name]):
                yield f"{row.title}: {name}: {why} as in {first.title}"


def unnamed_judges(rows: Sequence[Row]) -> Iterator[str]:
    """Benchmarks that were judged, by what this row or any other says, and rows that do not say by whom."""
    judged = {
        (name, row.result.tasks[name].protocol)
        for row in rows
        for name in judged_benchmarks(row.result) & row.result.tasks.keys()
    }
    for row in rows:
        known = [name for name, task in row.result.tasks.items() if (name, task.protocol) in judged]
        for gap in judge_gaps(row.result, known):
            yield f"{row.title}: {gap}"


def items_of(samples: Sequence[Sample]) -> Items:
    """What a file of samples is about."""
    return frozenset((str(sample["id"]), str(sample["doc_sha256"])) for sample in samples)


def other_items(items: Items, n_expected: int, usual: Items, n_usual: int) -> str:
    """How what was asked differs from what is usually asked; empty where it does not, but for items that were lost."""
    if n_expected != n_usual:
        return f"{n_expected} items were asked, and {n_usual} of other rows"
    foreign = sorted(items - usual)
    if len(foreign) > n_usual - len(usual):
        return f"{len(foreign)} items are none that other rows were asked, the first is {foreign[0][0]}"
    return ""


def weights_of(samples: Sequence[Sample], measure: Measure) -> dict[Item, float]:
    """What the items count in the benchmark's number, of those that were scored."""
    return {item: one.weight for item, one in scores_by_item(samples, measure.score_name).items()}


def other_weights(weights: Mapping[Item, float], usual: Mapping[Item, float]) -> str:
    """The first item that weighs otherwise than usual; empty where none does.

    Not for judged benchmarks, in which an item weighs as many judgments as could be read.
    """
    both = weights.keys() & usual.keys()
    if other := [item for item in both if not math.isclose(weights[item], usual[item], rel_tol=1e-9)]:
        first = min(other)
        return f"item {first[0]} weighs {weights[first]:g}, and {usual[first]:g} in other rows"
    return ""


@dataclass(frozen=True)
class _File:
    """Samples of one evaluation."""

    row: str
    seed: int
    n_expected: int


@dataclass
class AskedItems:
    """Which items stand in each file of samples, and what they weigh.

    All rows of a suite were asked the same, or they compare nothing.
    """

    _files: dict[Question, dict[Items, list[_File]]] = field(default_factory=dict)
    _weights: dict[Question, dict[Item, float]] = field(default_factory=dict)
    """What each item weighs where it is found first."""
    _unequal: list[str] = field(default_factory=list)

    def note(self, row: Row, benchmark: str, seed: int, samples: Sequence[Sample]) -> None:
        """Take down what one file holds."""
        result = row.result
        question = result.suite.sha256, result.limit, benchmark
        by_items = self._files.setdefault(question, {})
        n_expected = result.part(benchmark, seed).n_expected
        by_items.setdefault(items_of(samples), []).append(_File(row.title, seed, n_expected))
        if benchmark not in judged_benchmarks(result):
            weights, usual = weights_of(samples, result.tasks[benchmark]), self._weights.setdefault(question, {})
            if why := other_weights(weights, usual):
                self._unequal.append(f"{row.title}: {benchmark}, seed {seed}: {why}")
            for item, weight in weights.items():
                usual.setdefault(item, weight)

    def findings(self) -> Iterator[str]:
        """Files with other weights than the first, and other items than most; where none are most, than the first."""
        yield from self._unequal
        for (_, _, benchmark), by_items in self._files.items():
            usual = max(by_items, key=lambda items: len(by_items[items]))
            n_usual = by_items[usual][0].n_expected
            for items, files in by_items.items():
                for file in files:
                    if other := other_items(items, file.n_expected, usual, n_usual):
                        yield f"{file.row}: {benchmark}, seed {file.seed}: {other}"
