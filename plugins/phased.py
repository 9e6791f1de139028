"""Phased instruction fine-tuning: stages of ascending difficulty, each going on from the last (arXiv:2406.04371).

The paper has a judge score every example from 1 to 5, cuts at 1.5 and 3.5 and trains three stages; its settings are
lr 5e-6, cosine, warm-up 0.1, weight decay 0.1, betas (0.9, 0.95), batch 128. Its controls are `split=random`, phases of
the same sizes filled at random, `order`, any of the six orders, and all data at once, which is `sft`.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from typing import Any, ClassVar, Literal

import pydantic

from harness.api import (
    PRETRAINING,
    Arm,
    Curated,
    Curation,
    CurationTools,
    Data,
    DataInfo,
    Example,
    Mixture,
    Options,
    Plugin,
    Share,
    Stage,
    UserError,
    hookimpl,
    ratings,
    shuffled,
    without_role,
)

CUTS = (1.5, 3.5)
THIRDS = (Fraction(1, 3), Fraction(2, 3))
DIFFICULTY = "difficulty"
"""The column that a judge or a model fills."""


class PhasedOptions(Options):
    """What is difficult, and how the phases follow one another."""

    difficulty: Literal["column", "judge", "loss"] = "column"
    """Where the difficulty is from: a `column` of the data, the recipe's `judge`, who is asked for 1 to 5, or the base
    model's `loss`, the mean over the tokens of the responses."""
    column: str = "score"
    """The column that holds it, a number or the text of one."""
    cuts: tuple[float, ...] = ()
    """Where one phase ends and the next begins, which has examples of just that difficulty. Empty: 1.5 and 3.5."""
    quantiles: tuple[Share, ...] = ()
    """Cuts at shares of the examples instead, `[1/3, 2/3]`; of the model's losses where no cuts are given."""
    split: Literal["difficulty", "random"] = "difficulty"
    """`random`: phases of the same sizes with the same examples, shared out at random."""
    order: tuple[int, ...] = ()
    """Phases in the order of training, 1 the easiest: `[3, 1, 2]`. Empty: ascending."""

    @pydantic.model_validator(mode="after")
    def _phases(self) -> "PhasedOptions":
        cuts: Sequence[float | Fraction] = self.cuts or self.quantiles
        if self.cuts and self.quantiles:
            raise ValueError("give either cuts or quantiles")
        if any(one >= other for one, other in pairwise(cuts)) or {0, 1}.intersection(self.quantiles):
            raise ValueError("cuts ascend, and quantiles lie between 0 and 1")
        phases = range(1, len(self.boundaries) + 2)
        if self.order and sorted(self.order) != list(phases):
            raise ValueError(f"order names each phase from 1 to {len(phases)} once")
        return self

    @property
    def boundaries(self) -> tuple[float, ...] | tuple[Fraction, ...]:
        """Cuts, or quantiles where they are fractions."""
        return self.cuts or self.quantiles or (THIRDS if self.difficulty == "loss" else CUTS)


PLUGIN = Plugin(
    name="phased",
    version="1.1",
    summary="Phased fine-tuning: stages of ascending difficulty, scored by a column, a judge or the base model's loss.",
    paper="arXiv:2406.04371",
    options=PhasedOptions,
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """One stage for every phase, in the chosen order."""
    options = arm.options(PhasedOptions)
    scored: tuple[Data, ...] = without_role(data, PRETRAINING)
    column = options.column
    if options.difficulty == "judge":
        scored, column = (Curated(scored, Judged(), name="judged"),), DIFFICULTY
    elif options.difficulty == "loss":
        scored, column = (Curated(scored, ByLoss(), model="base", name="weighed"),), DIFFICULTY
    phases = Phases(column, options.boundaries, random=options.split == "random")
    order = options.order or range(1, len(phases.portions) + 1)
    return [
        Stage(portion, Mixture.of(Curated(scored, phases, portion, name=portion)))
        for portion in (phases.portions[number - 1] for number in order)
    ]


# --- phases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phases(Curation):
    """The examples by difficulty, easiest first; those without a number in `column` are left out and counted."""

    column: str
    boundaries: tuple[float, ...] | tuple[Fraction, ...]
    """Fractions are quantiles: of equal difficulties the earlier example counts as the easier."""
    random: bool = False

    @property
    def portions(self) -> tuple[str, ...]:
        """`phase_1`, the easiest, and so on."""
        return tuple(f"phase_{number}" for number in range(1, len(self.boundaries) + 2))

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """Every scored example in one phase, in the order of the data."""
        scores = {
            example.id: score for example in examples if (score := number(example.meta.get(self.column))) is not None
        }
        scored = [example for example in examples if example.id in scores]
        tools.tell("unscored", len(examples) - len(scored))
        if not scored:
            raise UserError(
                f"no example has a number in the column {self.column!r}",
                "name it: phased.column=NAME; or phased.difficulty=judge, or phased.difficulty=loss",
            )
        place = self._places(scored, scores)
        if self.random:
            dealt = shuffled(scored, tools.seed, lambda one: one.id)
            place = {one.id: phase for one, phase in zip(dealt, sorted(place.values()), strict=True)}
        phases = {name: [e for e in scored if place[e.id] == i] for i, name in enumerate(self.portions)}
        if empty := [name for name, held in phases.items() if not held]:
            lowest, highest = min(scores.values()), max(scores.values())
            raise UserError(
                f"no example falls into {', '.join(empty)}: the difficulty runs from {lowest:g} to {highest:g}",
                "set phased.cuts within these, or phased.quantiles=[1/3,2/3]",
            )
        return phases

    def _places(self, examples: Sequence[Example], scores: Mapping[str, float]) -> dict[str, int]:
        """Which phase each example falls into, from 0."""
        if not isinstance(self.boundaries[0], Fraction):
            return {one.id: bisect_right(self.boundaries, scores[one.id]) for one in examples}
        ends = [int(quantile * len(examples)) for quantile in self.boundaries]
        ranked = sorted(examples, key=lambda one: scores[one.id])
        return {one.id: bisect_right(ends, rank) for rank, one in enumerate(ranked)}


def number(value: Any) -> float | None:
    """The finite number that a cell holds, as such or as text; None where it holds none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if isfinite(found) and not isinstance(value, bool) else None


def _with(example: Example, difficulty: float | None) -> Example:
    return replace(example, meta={**example.meta, DIFFICULTY: difficulty})


# --- difficulty ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByLoss(Curation):
    """Every example with the mean negative log-likelihood of its responses' tokens, in nats."""

    needs: ClassVar[frozenset[Literal["model", "judge"]]] = frozenset({"model"})

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """The same examples."""
        found = zip(examples, tools.likelihood(examples), strict=True)
        return {"all": [_with(example, nll / tokens if tokens else None) for example, (nll, tokens) in found]}


SCALE = """\
You are given a conversation between a user and an assistant. How difficult is it to answer as the assistant does?
Judge the request and the answer together: the knowledge they take, the steps of reasoning, and the constraints that
have to be met.

1: trivial, a fact or phrase that everybody knows
2: easy, one simple step
3: moderate, some knowledge or a few steps
4: hard, special knowledge or careful reasoning over several steps
5: very hard, a task for an expert
"""


@dataclass(frozen=True)
class Judged(Curation):
    """Every example with the difficulty that the judge gives it, from 1 to 5; without one where it gave none."""

    needs: ClassVar[frozenset[Literal["model", "judge"]]] = frozenset({"judge"})

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """The same examples; how many replies were of no use is told."""
        found = ratings(examples, tools, what=DIFFICULTY, column="", question=SCALE, scale=(1, 5))
        return {"all": [_with(one, difficulty) for one, difficulty in zip(examples, found, strict=True)]}
