"""Disperse-then-merge (Fu et al., Findings of ACL 2024, arXiv:2405.13432).

The data is dispersed into K portions, by k-means over sentence embeddings of the responses or at random. One expert is
trained on each, all from the base and so side by side, and their weights are averaged, `M = sum_j a_j M_j` with
`a_j = 1/K`. Another merger takes the mean's place where one is named: `dtm,ties`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from harness.api import (
    PRETRAINING,
    Arm,
    Average,
    Curated,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    KeepLast,
    Merger,
    Mixture,
    Options,
    Plugin,
    Stage,
    UserError,
    experts,
    hookimpl,
    shuffled,
    without_role,
)


class DtmOptions(Options):
    """How the data is dispersed, and what becomes of the experts."""

    k: int = Field(4, ge=1)
    """Portions, and so experts. The paper: 4."""
    by: Literal["clusters", "random"] = "clusters"
    """k-means over embeddings, or a random split into equal portions. The paper finds the two about equal."""
    of: Literal["response", "instruction", "both"] = "response"
    """What of an example is embedded."""
    embedder: str = "sentence-transformers/all-mpnet-base-v2"
    """A sentence-transformers model: a hub id, `id@revision` or a folder. `tfidf` needs no model."""
    first_turn: bool = True
    """Train on the first user and assistant turn of each conversation alone, as the released code does."""
    weights: Literal["uniform", "size"] = "uniform"
    """What the mean weighs the experts by: all the same, or by the examples that each was trained on."""
    no_eos: bool = False
    """Leave the token that ends a response out of the loss, as the released code does."""
    only: int | None = Field(None, ge=0)
    """The model of this one expert, from 0, instead of the merged one: what the merge is compared with."""


PLUGIN = Plugin(
    name="dtm",
    version="1.1",
    summary="Disperse-then-merge: one expert for each of k portions of the data, merged.",
    paper="arXiv:2405.13432",
    options=DtmOptions,
)


@dataclass(frozen=True)
class Disperse(Curation):
    """K portions that have every example in one of them."""

    k: int
    by: str
    of: str
    embedding: str
    first_turn: bool

    @property
    def portions(self) -> tuple[str, ...]:
        """By number."""
        return tuple(map(str, range(self.k)))

    @property
    def embedder(self) -> str | None:
        """None where nothing is embedded."""
        return self.embedding if self.by == "clusters" else None

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """By cluster or at random; each portion in the order of the data."""
        if len(examples) < self.k:
            raise _too_few(self.k, f"{len(examples)} examples")
        if self.first_turn:
            examples = [replace(example, messages=_first_turn(example)) for example in examples]
        found = self._clusters(examples, tools) if self.by == "clusters" else _dealt(examples, self.k, tools.seed)
        return {
            name: [e for e, n in zip(examples, found, strict=True) if n == j] for j, name in enumerate(self.portions)
        }

    def _clusters(self, examples: Sequence[Example], tools: CurationTools) -> list[int]:
        """The cluster of each example, numbered by their first examples. The best of ten starts of k-means."""
        import numpy as np
        from sklearn.cluster import KMeans

        vectors = tools.embed([_text(example, self.of) for example in examples], self.embedding)
        if (different := len(np.unique(vectors, axis=0))) < self.k:
            raise _too_few(self.k, f"{different} different embeddings")
        means = KMeans(self.k, n_init=10, random_state=tools.seed).fit(vectors)
        tools.tell("inertia", float(means.inertia_))
        number: dict[Any, int] = {}
        return [number.setdefault(label, len(number)) for label in means.labels_]


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """One stage for each portion, all from the base."""
    options, names = arm.options(DtmOptions), without_role(data, PRETRAINING)
    sizes = [data[name].n for name in names]
    if None not in sizes and sum(filter(None, sizes)) < options.k:
        raise _too_few(options.k, f"{sum(filter(None, sizes))} examples")
    if options.only is not None and options.only >= options.k:
        raise UserError(f"dtm.only is {options.only}, and dtm.k {options.k}", f"the experts are 0 to {options.k - 1}")
    merging = arm.providers.get("merger", PLUGIN.name)
    if options.weights == "size" and merging != PLUGIN.name:
        raise UserError(
            f"dtm.weights=size is for dtm's own mean, and {merging!r} takes its place", "leave one of the two away"
        )
    disperse = Disperse(options.k, options.by, options.of, options.embedder, options.first_turn)
    train = {"end_of_turn": False} if options.no_eos else {}
    wanted = range(options.k) if options.only is None else [options.only]
    return [
        Stage(f"expert_{j}", Mixture.of(Curated(names, disperse, str(j), name=f"portion {j}")), "base", train=train)
        for j in wanted
    ]


@hookimpl(trylast=True)
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The mean of the experts' weights."""
    names = experts(stages)
    return Average(names, by_examples=arm.options(DtmOptions).weights == "size") if len(names) > 1 else KeepLast()


def _too_few(k: int, what: str) -> UserError:
    return UserError(f"dtm.k is {k}, and there are {what} to disperse", "lower dtm.k")


def _first_turn(example: Example) -> tuple[Any, ...]:
    """Up to the first answer, with the system prompt where there is one."""
    answers = [n for n, message in enumerate(example.messages) if message.role == "assistant"]
    return example.messages[: answers[0] + 1] if answers else example.messages


def _text(example: Example, of: str) -> str:
    """What the example is embedded by; a text without turns is all response."""
    roles = {"response": {"assistant", "text"}, "instruction": {"user"}, "both": {"user", "assistant", "text"}}[of]
    return "\n".join(message.content for message in example.messages if message.role in roles)


def _dealt(examples: Sequence[Example], k: int, seed: int) -> list[int]:
    """A random portion for each example, all of one size as far as they can be: dealt in the order of a digest."""
    order = shuffled(examples, seed, lambda example: example.id)
    place = {example.id: n % k for n, example in enumerate(order)}
    return [place[example.id] for example in examples]
