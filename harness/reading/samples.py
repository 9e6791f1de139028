"""Samples as people read them: loaded, filtered, and joined with what was asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.board.samples import read_samples
from harness.discovery import suggestion
from harness.errors import UserError
from harness.evaluate.asked import Rounds, read_asked
from harness.reading.evaluations import Evaluation

HALF = 0.5
"""Where right and wrong part, unless another bound is given."""


@dataclass(frozen=True)
class Sample:
    """One item, answered and scored."""

    evaluation: Evaluation
    line: Mapping[str, Any]
    """Its line of samples.jsonl."""
    graded: bool = False
    """Whether the evaluation has other scores than 0 and 1, so that none is right or wrong."""
    asked: Rounds | None = None
    """What was asked, by round; None where that is not to be had."""

    @property
    def id(self) -> str:
        """The item's id in its benchmark."""
        return str(self.line["id"])

    @property
    def score(self) -> float | None:
        """The benchmark's number for this item; None where there is none."""
        value = (self.line["scores"] or {}).get(self.evaluation.score)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    @property
    def outcome(self) -> str:
        """How it ended."""
        return str(self.line["outcome"])

    def worse_than(self, bound: float) -> bool:
        """Whether it is scored, and worse than the bound in the benchmark's own direction."""
        if self.score is None:
            return False
        return self.score < bound if self.evaluation.higher_is_better else self.score > bound


@dataclass(frozen=True)
class Selection:
    """Which samples are wanted; by default all."""

    worse_than: float | None = None
    outcomes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def of(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those that are. Raises UserError for an outcome that does not occur, and for an id that no item has."""
        _refuse_unknown("no sample ended as", self.outcomes, [sample.outcome for sample in samples])
        _refuse_unknown("no item is called", self.ids, [sample.id for sample in samples])
        return [
            sample
            for sample in samples
            if (self.worse_than is None or sample.worse_than(self.worse_than))
            and (not self.outcomes or sample.outcome in self.outcomes)
            and (not self.ids or sample.id in self.ids)
        ]


def load(evaluations: Iterable[Evaluation]) -> list[Sample]:
    """Their samples, in the benchmarks' order. Raises UserError for one not scored yet, Failure for damaged files."""
    return [sample for one in evaluations for sample in _samples(one)]


def with_asked(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with what was asked, where that is to be had."""
    wanted: dict[Path | None, set[str]] = {}
    for sample in samples:
        wanted.setdefault(sample.evaluation.asked, set()).add(sample.id)
    found: dict[Path | None, dict[str, Rounds]] = {
        path: {name: rounds for name, rounds in (read_asked(path) if path else ()) if name in ids}
        for path, ids in wanted.items()
    }
    return [replace(sample, asked=found[sample.evaluation.asked].get(sample.id)) for sample in samples]


def _samples(evaluation: Evaluation) -> list[Sample]:
    if evaluation.samples is None:
        raise UserError(f"there are no samples of {evaluation}", "the same harness run goes on with it")
    samples = [Sample(evaluation, line) for line in read_samples(evaluation.samples)]
    graded = not {sample.score for sample in samples} <= {0.0, 1.0, None}
    return [replace(sample, graded=graded) for sample in samples]


def _refuse_unknown(what: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"{what} {name!r}", suggestion(name, tuple(dict.fromkeys(known))))
