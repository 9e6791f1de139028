"""Data: where rows are, how they become conversations, and the mixtures that stages train on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.api.curation import Curation

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Part(IntEnum):
    """What a token of a rendered conversation is. A loss chooses which parts count, and how much."""

    TEMPLATE = 0
    """Role headers, BOS and separators: text that the chat template adds."""
    PROMPT = 1
    """Content of system and user turns."""
    RESPONSE = 2
    """An assistant turn, from where generation would start through the end-of-turn token."""
    PAD = 3


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; or plain text, the only message of its example, that no chat template touches."""

    role: Literal["system", "user", "assistant", "text"]
    content: str


@dataclass(frozen=True)
class Example:
    """One training conversation, or a text. `id` is unique within its dataset and stable from run to run."""

    id: str
    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The row's columns that are no part of the conversation, where a curation asks."""
    rejected: str | None = None
    """Of a preference pair: the answer to which the last turn's was preferred. Stages with the objective `dpo` learn
    from both, others from `messages` alone."""


@dataclass(frozen=True)
class ChatColumns:
    """A column that holds a list of turns, `{"role", "content"}` or the older `{"from", "value"}`.

    Turns that are plain texts are the user's and the assistant's, one after the other.
    """

    messages: str = "messages"


@dataclass(frozen=True)
class PairColumns:
    """A prompt column and a completion column, with an optional system prompt column."""

    prompt: str = "prompt"
    completion: str = "completion"
    system: str | None = None


@dataclass(frozen=True)
class AlpacaColumns:
    """Alpaca's three columns; a non-empty input follows the instruction after a blank line."""

    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"


@dataclass(frozen=True)
class TextColumns:
    """A column of plain text, such as models are pretrained on: tokenised as it is, and scored like a response."""

    text: str = "text"


Columns = ChatColumns | PairColumns | AlpacaColumns | TextColumns
"""How a row becomes a conversation, or a text."""


@dataclass(frozen=True)
class Hub:
    """Files of a hub dataset at a pinned revision; found in the local mirror first (`HARNESS_DATA_ROOT/<id>/`)."""

    id: str
    files: tuple[str, ...] = ()
    """Paths in the repository, `*` standing for anything; none means its training files, `train*` in a format that can
    be read."""
    revision: str = "main"
    mirror: tuple[str, ...] = ()
    """What the mirror calls the same rows, where that differs from `files`."""
    members: tuple[str, ...] = ()
    """Where the file is a zip archive, the files in it that are meant, `*` standing for anything; none means all that
    can be read."""


@dataclass(frozen=True)
class Upstream(Hub):
    """Files that no hub dataset holds, from where their authors keep them; the mirror has them as those of a dataset.

    `id` is a name of our own then, and `revision` a tag or commit, not a branch.
    """

    url: str = ""
    """The address before the files' names; `{revision}` in it stands for the revision."""
    sha256: tuple[str, ...] = ()
    """Of each file, in their order; none where `revision` is a commit, which fixes them."""
    licence: str = ""

    def __post_init__(self) -> None:
        if len(self.sha256) != len(self.files) and (self.sha256 or not _COMMIT.fullmatch(self.revision)):
            raise UserError(
                f"nothing vouches for the files of {self.id} at {self.revision}",
                "name a commit, or the SHA-256 of each file",
            )


@dataclass(frozen=True)
class Files:
    """The user's own files: JSON, JSONL, Parquet or CSV."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Generated:
    """Examples made on the spot by a pure function; `recipe` holds its arguments and is part of the key."""

    make: Callable[[], Iterator[Example]]
    n: int
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class DataSource:
    """Where a dataset's rows are and how a row becomes a conversation. The core reads it; a plug-in declares it."""

    location: Hub | Files | Generated
    columns: Columns | None = None
    """None where the location yields examples already (`Generated`), or to recognise the usual columns."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Which rows take part: column to what it must read, `*` standing for anything; all where it is empty."""
    unfit: Literal["refuse", "drop"] = "refuse"
    """What becomes of rows that are no conversation, such as one without an answer: an error, or they are left out."""
    licence: str = ""
    summary: str = ""


@dataclass(frozen=True)
class DataInfo:
    """What a strategy may know of a dataset: its name and role in the recipe, and how many examples it has."""

    name: str
    role: str
    n: int | None
    """None while unknown: rows that a job of the plan has yet to make, or a hub dataset not in the mirror."""


@dataclass(frozen=True)
class Derived:
    """Data made from other data by a named operation: `sample` takes a share, the same for equal seeds.

    A smaller share of the same data under the same seed is contained in a larger one.
    """

    parent: Data
    op: str = "sample"
    amount: int | None = None
    fraction: Fraction | None = None
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """A dataset's prompts, answered anew by a model of this arm: a `generate` job, whose size is known once it ran.

    Each conversation must end in an assistant turn, which the model writes anew. Answers that ran into
    `max_new_tokens` are left out and counted.
    """

    parent: Data
    model: str = "base"
    """`base`, or the name of an earlier stage."""
    samples: int = 1
    """Answers to each prompt; more than one needs a temperature."""
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.samples > 1 and self.temperature == 0):
            raise UserError(f"{self.samples} answers at temperature {self.temperature}", "greedy answers are all alike")


@dataclass(frozen=True)
class Curated:
    """A portion of what a curation makes of data: a `prepare` job, whose sizes are known once it ran.

    Portions of one curation of the same data come from one job.
    """

    parent: Data | tuple[Data, ...]
    """Of several, the examples together; their ids are then `dataset/id`."""
    curation: Curation
    portion: str = "all"
    model: str | None = None
    """Whose likelihoods the curation asks for, where it does: `base`, or the name of an earlier stage."""
    name: str = ""
    """What the dataset is called; empty: after its parents, the curation's class and the portion."""

    @property
    def parents(self) -> tuple[Data, ...]:
        """What is curated, always as several."""
        return self.parent if isinstance(self.parent, tuple) else (self.parent,)


Data = str | Derived | Answered | Curated
"""What a mixture is made of."""


def sample(data: Data, fraction: Fraction | None = None, *, amount: int | None = None) -> Derived:
    """`floor(fraction * n)` examples of `data`, at least one when the fraction is above 0; or `amount` of them."""
    if (fraction is None) == (amount is None):
        raise UserError(f"sample({data!r}) needs a fraction or an amount", "give exactly one of them")
    return Derived(parent=data, fraction=fraction, amount=amount)


def beside(data: Data, ratio: Fraction) -> Derived:
    """`floor(ratio * n)` examples of `data`, where the rest of its mixture has n: known or not when it is planned.

    Only what stands in a mixture itself can be measured so.
    """
    return Derived(parent=data, op="beside", fraction=ratio)


@dataclass(frozen=True)
class Mixture:
    """Datasets trained on together, shuffled into one stream."""

    items: tuple[Data, ...]

    @classmethod
    def of(cls, *items: Data) -> Mixture:
        """`Mixture.of("general", sample("math", Fraction(1, 256)))`."""
        return cls(tuple(items))

    def on_each(self, change: Callable[[str], Data]) -> Mixture:
        """The mixture with something else for every dataset of the recipe: its samples are then of that."""
        return Mixture(tuple(_on_each(item, change) for item in self.items))


def _on_each(data: Data, change: Callable[[str], Data]) -> Data:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Curated):
        return replace(data, parent=tuple(_on_each(parent, change) for parent in data.parents))
    return replace(data, parent=_on_each(data.parent, change))


PRETRAINING = "pretraining"
"""The role of text for methods that ask for it, such as replay: no other method trains on it."""


def without_role(data: Mapping[str, DataInfo], *roles: str) -> tuple[str, ...]:
    """Names of the datasets in other roles, in the recipe's order."""
    return tuple(name for name, info in data.items() if info.role not in roles)


def in_role(data: Mapping[str, DataInfo], role: str) -> tuple[str, ...]:
    """Names of the datasets in a role; where none is named (`""`), of all but pretraining text."""
    return with_role(data, role) if role else without_role(data, PRETRAINING)


def with_role(data: Mapping[str, DataInfo], *roles: str) -> tuple[str, ...]:
    """Names of the datasets that hold one of the roles, in the recipe's order.

    Raises UserError naming a role that no dataset of the recipe holds.
    """
    held = {info.role for info in data.values()}
    for role in roles:
        if role not in held:
            raise UserError(
                f"the strategy needs data in the role {role!r}, and the recipe gives it to none",
                f"add `data: {{{role}: [...]}}` to the recipe, or --set data.{role}=SOURCE",
            )
    return tuple(name for name, info in data.items() if info.role in roles)
