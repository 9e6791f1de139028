"""Curated data: examples chosen, grouped or changed before anything trains on them.

A curation is a job of the plan, done once and kept. What it needs beside the examples reaches it as `CurationTools`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.api.benchmarks import Item, JudgePrompt, Rows, Verdict
from harness.api.data import Example, Files, Hub

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TFIDF = "tfidf"
"""The embedder that needs no model: TF-IDF of the texts at hand, reduced by truncated SVD."""


class CurationTools(Protocol):
    """What a curation may call on. All that it is told is on disk first: a second attempt asks for the rest alone."""

    @property
    def seed(self) -> int:
        """What all random choices follow: the stage's."""
        ...

    def embed(self, texts: Sequence[str], model: str) -> npt.NDArray[np.float32]:
        """One vector a text, [n, d], of length 1; 0 for a text in which `tfidf` finds no word.

        `model` is what the curation names as its `embedder`.
        """
        ...

    def likelihood(self, examples: Sequence[Example]) -> Sequence[tuple[float, int]]:
        """Of each example the negative log-likelihood of its response tokens, summed, in nats, and their number.

        The model is that of `Curated.model`, the engine the recipe's. What its context does not hold is cut off on the
        right, as in training.
        """
        ...

    def ask(self, prompts: Sequence[JudgePrompt]) -> Sequence[Verdict]:
        """The judge's verdicts, in order; one that cannot be parsed, or had, says so in its outcome."""
        ...

    def read(self, location: Hub | Files) -> Rows:
        """Rows of a dataset that the curation names in its `data`."""
        ...

    def benchmarks(self) -> Mapping[str, Sequence[Item]]:
        """All items of the run's benchmarks, by benchmark: their rows, whatever of them the model is shown."""
        ...

    def tell(self, name: str, value: Any) -> None:
        """Keep something about the curation, as JSON, in the job's result: how many were dropped, say."""
        ...


@dataclass(frozen=True)
class Curation(ABC):
    """A way to curate: a frozen dataclass, whose fields are JSON (or fractions) and enter the key."""

    needs: ClassVar[frozenset[Literal["model", "judge", "benchmarks"]]] = frozenset()
    """`model`: asks for likelihoods; `judge`: asks the recipe's judge; not both: curate what is curated.
    `benchmarks`: looks at what the run's benchmarks ask."""

    @property
    def portions(self) -> tuple[str, ...]:
        """What the examples become; each is a dataset of its own. Letters, digits, `.`, `-` and `_`."""
        return ("all",)

    @property
    def embedder(self) -> str | None:
        """What `tools.embed` is asked for: `tfidf`, or a sentence-transformers model, a hub id or a folder."""
        return None

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """What `tools.read` is asked for; nothing by default."""
        return ()

    @abstractmethod
    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """The examples of every portion, none of which may be empty; ids are unique within each.

        `Example.meta` holds the row's further columns, and stays with the example. The same for the same examples,
        seed and replies: a second attempt is given what the first one was.
        """
