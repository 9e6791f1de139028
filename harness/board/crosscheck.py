"""What published rows must agree on among each other: who says what twice, which items were asked, and who judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from harness.board.judges import judge_gaps, judged_benchmarks
from harness.board.rows import Row
from harness.board.samples import Sample

Items = frozenset[tuple[str, str]]
"""Id and content hash of each."""


def named(row: Row) -> str:
    """The row as findings call it."""
    return f"row {row.id[:12]} ({row.result.arm})"


def twins(rows: Iterable[Row]) -> Iterator[str]:
    """Rows on the board that claim the same, whatever was measured on the way."""
    claims: dict[str, Row] = {}
    for row in rows:
        first = claims.setdefault(row.result.said(), row)
        if first is not row:
            yield f"{named(row)}: says the same as {named(first)}"


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
            yield f"{named(row)}: {gap}"


@dataclass(frozen=True)
class _File:
    """Samples of one evaluation."""

    row: str
    seed: int
    n_expected: int


@dataclass
class AskedItems:
    """Which items stand in each file of samples. All rows of a board were asked the same, or they compare nothing."""

    _files: dict[tuple[str, str, str], dict[Items, list[_File]]] = field(default_factory=dict)
    """By recipe, suite and benchmark."""

    def note(self, row: Row, benchmark: str, seed: int, samples: Sequence[Sample]) -> None:
        """Take down what one file holds."""
        result = row.result
        n_expected = next(part.n_expected for part in result.tasks[benchmark].seeds if part.seed == seed)
        items = frozenset((str(sample["id"]), str(sample["doc_sha256"])) for sample in samples)
        board = self._files.setdefault((result.recipe_sha256, result.suite.sha256, benchmark), {})
        board.setdefault(items, []).append(_File(named(row), seed, n_expected))

    def findings(self) -> Iterator[str]:
        """Files with other items, or of another number of them, than most of their board; of equally many, the first.

        Items that an apparatus lost are no others.
        """
        for (_, _, benchmark), by_items in self._files.items():
            usual = max(by_items, key=lambda items: len(by_items[items]))
            n_expected = by_items[usual][0].n_expected
            for items, files in by_items.items():
                foreign = sorted(items - usual)
                for file in files:
                    where = f"{file.row}: {benchmark}, seed {file.seed}"
                    if file.n_expected != n_expected:
                        yield f"{where}: {file.n_expected} items were asked, and {n_expected} of other rows"
                    elif len(foreign) > n_expected - len(usual):
                        yield f"{where}: {len(foreign)} items are none that other rows were asked, as {foreign[0][0]}"
