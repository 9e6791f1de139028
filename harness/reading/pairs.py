"""Two models on the same items: which of them was right where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from harness.errors import UserError
from harness.reading.evaluations import Evaluation
from harness.reading.samples import Sample, load, with_asked

Kind = Literal["both right", "only A", "only B", "both wrong", "A higher", "B higher", "alike", "not both scored"]
"""Of scores that are 0 or 1 the first four, of other numbers the next three."""

KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
_RIGHT_OR_WRONG = KINDS[:4]


@dataclass(frozen=True)
class Pair:
    """An item as two models answered it."""

    a: Sample
    b: Sample

    @property
    def difference(self) -> float | None:
        """Score of A minus score of B; None where one of them has none."""
        return None if self.a.score is None or self.b.score is None else self.a.score - self.b.score

    def differs(self, by: float) -> bool:
        """Whether the scores differ by more than so much."""
        return self.difference is not None and abs(self.difference) > by


@dataclass(frozen=True)
class Comparison:
    """Two models on one benchmark."""

    task: str
    pairs: tuple[Pair, ...]
    by: float = 0.0
    """Scores that differ by no more than this are alike."""

    def kind(self, pair: Pair) -> Kind:
        """Who was right, or scored higher."""
        if pair.difference is None:
            return "not both scored"
        if self._binary:
            a, b = (bool(one.score) == one.evaluation.higher_is_better for one in (pair.a, pair.b))
            return "both right" if a and b else "only A" if a else "only B" if b else "both wrong"
        if not pair.differs(self.by):
            return "alike"
        return "A higher" if pair.difference > 0 else "B higher"

    def counts(self) -> dict[Kind, int]:
        """How many items there are of each kind that can occur."""
        counts = Counter(map(self.kind, self.pairs))
        return {kind: counts[kind] for kind in KINDS if counts[kind] or (self._binary and kind in _RIGHT_OR_WRONG)}

    def differing(self) -> list[Pair]:
        """The items on which the two differ, the largest differences first."""
        found = [pair for pair in self.pairs if pair.differs(self.by)]
        return sorted(found, key=lambda pair: -abs(pair.difference or 0))

    @cached_property
    def _binary(self) -> bool:
        return not any(sample.graded for pair in self.pairs for sample in (pair.a, pair.b))


def compare(ones: Sequence[Evaluation], others: Sequence[Evaluation], by: float = 0.0) -> list[Comparison]:
    """Both sides on the items that they share, benchmark by benchmark; items of several seeds are told apart by seed.

    Raises UserError where the sides share no benchmark, seed or item, where a benchmark was scored by another protocol,
    and where items of one id hold different questions.
    """
    tasks = [task for task in dict.fromkeys(one.task for one in ones) if any(task == other.task for other in others)]
    if not tasks:
        raise UserError("the two have no benchmark in common", f"they have {_names(ones)}, and {_names(others)}")
    found = []
    for task in tasks:
        sides = ([one for one in side if one.task == task] for side in (ones, others))
        items = [pair for one, other in _by_seed(*sides) for pair in _pairs(one, other)]
        found.append(Comparison(task, tuple(items), by))
    return found


def with_prompts(found: Sequence[Pair]) -> list[Pair]:
    """The pairs with what was asked: of A, which is taken for both."""
    asked = with_asked([pair.a for pair in found])
    return [Pair(a, replace(pair.b, asked=a.asked)) for a, pair in zip(asked, found, strict=True)]


def _by_seed(ones: Sequence[Evaluation], others: Sequence[Evaluation]) -> list[tuple[Evaluation, Evaluation]]:
    """Equal seeds go together; where each side has one seed, these do."""
    if len(ones) == len(others) == 1:
        return [(ones[0], others[0])]
    by_seed = {other.seed: other for other in others}
    common = [(one, by_seed[one.seed]) for one in ones if one.seed in by_seed]
    if not common:
        raise UserError(f"the two have no seed of {ones[0].task} in common", "compare runs with the same seeds")
    return common


def _pairs(one: Evaluation, other: Evaluation) -> list[Pair]:
    if (one.protocol, one.score) != (other.protocol, other.score):
        raise UserError(
            f"{one.task} was scored by {one.protocol} for A and by {other.protocol} for B",
            "compare scores of one protocol",
        )
    theirs = {sample.id: sample for sample in load([other])}
    found = [Pair(sample, theirs[sample.id]) for sample in load([one]) if sample.id in theirs]
    if not found:
        raise UserError(f"the two have no item of {one.task} in common", "compare answers to the same questions")
    for pair in found:
        if pair.a.line["doc_sha256"] != pair.b.line["doc_sha256"]:
            raise UserError(
                f"item {pair.a.id} of {one.task} is not the same question for both", "compare runs on the same data"
            )
    return found


def _names(evaluations: Sequence[Evaluation]) -> str:
    return ", ".join(dict.fromkeys(one.task for one in evaluations))
