"""DEITA: the best examples by complexity x quality that are not near-copies of better ones (arXiv:2312.15685).

Its authors score with two models that they train for it; here the scores are columns of the data, or the judge's, in
our own words. It selects from the data of whatever strategy the arm has: `deita,im`, `deita,dtm`.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pydantic

from harness.api import (
    TFIDF,
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

COMPLEXITY = "You are shown an instruction and the answer to it. How difficult is it to do what the instruction asks?"
QUALITY = "You are shown an instruction and the answer to it. How helpful, correct, deep and detailed is the answer?"


class DeitaOptions(Options):
    """How many examples, how different from each other, and by which scores."""

    amount: int = pydantic.Field(6000, ge=1)
    """At most so many of each dataset. The paper: 6,000 and 10,000."""
    threshold: float = pydantic.Field(0.9, gt=-1, le=1)
    """An example joins where its cosine similarity to every one that has joined is below this."""
    complexity: str = ""
    """Column of the complexity scores; none: the judge's, from 1 to 6."""
    quality: str = ""
    """Column of the quality scores; none: the judge's, from 1 to 6."""
    embedder: str = TFIDF
    """What makes the vectors: `tfidf`, or a sentence-transformers model, a hub id or a folder."""
    role: str = ""
    """Role whose datasets are selected from, each by itself; none: all but text for pretraining."""


PLUGIN = Plugin(
    name="deita",
    version="1.1",
    summary="DEITA: the best by complexity x quality, without near-copies.",
    paper="arXiv:2312.15685",
    options=DeitaOptions,
)


@dataclass(frozen=True)
class BestAndDiverse(Curation):
    """By falling score, each example that is far enough from those before it; one without a score is left out."""

    amount: int
    threshold: float
    complexity: str
    quality: str
    by: str

    @property
    def embedder(self) -> str:
        """The option's."""
        return self.by

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """In the dataset's order, each with its score as `deita` in its meta."""
        import numpy as np

        scores = self._scores(examples, tools)
        vectors = tools.embed(["\n".join(turn.content for turn in e.messages) for e in examples], self.by)
        taken, alike = list[int](), 0
        joined = np.empty((min(self.amount, len(scores)), vectors.shape[1]), dtype=vectors.dtype)
        for n in sorted(scores, key=lambda n: -scores[n]):
            if len(taken) == len(joined):
                break
            if np.any(joined[: len(taken)] @ vectors[n] >= self.threshold):
                alike += 1
            else:
                joined[len(taken)] = vectors[n]
                taken.append(n)
        tools.tell("too alike", alike)
        return {"all": [replace(examples[n], meta={**examples[n].meta, "deita": scores[n]}) for n in sorted(taken)]}

    def _scores(self, examples: Sequence[Example], tools: CurationTools) -> dict[int, float]:
        """Complexity x quality by the example's place."""
        asked = {"complexity": (self.complexity, COMPLEXITY), "quality": (self.quality, QUALITY)}
        complexity, quality = (
            ratings(examples, tools, what=what, column=column, question=question, scale=(1, 6))
            for what, (column, question) in asked.items()
        )
        both = enumerate(zip(complexity, quality, strict=True))
        return {n: c * q for n, (c, q) in both if c is not None and q is not None}


@dataclass(frozen=True)
class JudgedBestAndDiverse(BestAndDiverse):
    """The same, where the judge gives at least one of the scores."""

    needs: ClassVar = frozenset({"judge"})


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner strategy, on the selection."""
    stages = yield
    options = arm.options(DeitaOptions)
    kind = BestAndDiverse if options.complexity and options.quality else JudgedBestAndDiverse
    selection = kind(options.amount, options.threshold, options.complexity, options.quality, options.embedder)
    return select(stages, data, options.role, selection)
