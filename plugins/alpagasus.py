"""AlpaGasus: train on the examples that a judge rates highly (Chen et al., 2023, arXiv:2307.08701).

It filters the data of whatever strategy the arm has: `alpagasus`, `alpagasus,im` and `alpagasus,dmt` all work. The
rating is a column of the data (`picked:alpaca_scored` has one, of another kind), or the judge's, in our own words.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from harness.api import (
    Arm,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    Options,
    Plugin,
    Stage,
    hookimpl,
    ratings,
    select,
)

QUESTION = "You are shown an instruction and the answer to it. How {dimension} is the answer?"


class AlpagasusOptions(Options):
    """What is rated, and how high is high enough."""

    threshold: float = 4.5
    """Lowest rating that stays."""
    column: str = ""
    """Column that holds the ratings; none: the recipe's judge rates, from 0 to 5."""
    dimension: str = "accurate"
    """What the judge rates: `accurate`, as in the paper, or `helpful`, say."""
    role: str = ""
    """Role whose datasets are filtered, each by itself; none: all but text for pretraining."""


PLUGIN = Plugin(
    name="alpagasus",
    version="1.1",
    summary="AlpaGasus: only the examples that a judge rates highly.",
    paper="arXiv:2307.08701",
    options=AlpagasusOptions,
)


@dataclass(frozen=True)
class Highly(Curation):
    """Examples whose rating is high enough; one without a rating is left out."""

    threshold: float
    column: str
    dimension: str

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """Each example that stays has its rating as `alpagasus` in its meta."""
        question = QUESTION.format(dimension=self.dimension)
        found = ratings(examples, tools, what="rating", column=self.column, question=question, scale=(0, 5))
        return {
            "all": [
                replace(example, meta={**example.meta, "alpagasus": rating})
                for example, rating in zip(examples, found, strict=True)
                if rating is not None and rating >= self.threshold
            ]
        }


@dataclass(frozen=True)
class JudgedHighly(Highly):
    """The same, rated by the judge."""

    needs: ClassVar = frozenset({"judge"})


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner strategy, on what is rated highly."""
    stages = yield
    options = arm.options(AlpagasusOptions)
    kind = Highly if options.column else JudgedHighly
    return select(stages, data, options.role, kind(options.threshold, options.column, options.dimension))
