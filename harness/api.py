"""Everything a plug-in may import: the types it is given, the values it returns, and `hookimpl`.

A plug-in returns values and performs no effects; the core trains, merges and evaluates. What it needs at run time
(a model, an engine, a batch) arrives as an argument. This module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import pluggy
import pydantic

from harness.canonical import share
from harness.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = [
    "AlpacaColumns",
    "Answered",
    "Arm",
    "Average",
    "Batch",
    "ChatColumns",
    "Columns",
    "Data",
    "DataInfo",
    "DataSource",
    "Derived",
    "Evaluator",
    "Example",
    "Files",
    "Generated",
    "Hub",
    "KeepLast",
    "LmEvalTask",
    "Loss",
    "Merger",
    "Message",
    "Mixture",
    "Model",
    "Options",
    "PairColumns",
    "Part",
    "Plugin",
    "Share",
    "Stage",
    "UserError",
    "hookimpl",
    "sample",
    "token_loss",
    "with_role",
]

API_VERSION = 1
"""Raised when a plug-in written for an older `harness.api` would no longer do what it says."""

hookimpl = pluggy.HookimplMarker("harness")
"""Marks a function of a plug-in as the implementation of the hook of the same name (see `harness.spec`)."""


# --- what a plug-in says about itself ------------------------------------------------------------------------------


class Options(pydantic.BaseModel):
    """Base of a plug-in's options: frozen, unknown names refused. Set by `--set NAME.option=value` or in the recipe."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )


def _to_fraction(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise ValueError("a fraction such as 1/256, 0.25 or 1 is wanted")  # noqa: TRY004 (pydantic reports ValueError)
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a fraction such as 1/256, 0.25 or 1") from None


Share = Annotated[
    Fraction,
    pydantic.Field(ge=0, le=1),
    pydantic.BeforeValidator(_to_fraction),
    pydantic.PlainSerializer(share, return_type=str),
]
"""An exact fraction between 0 and 1, written `1/256`, `0.25` or `1`."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in's identity: the module constant `PLUGIN`.

    `version` is part of every key the plug-in takes part in: raise it whenever a result would change.
    """

    name: str
    version: str
    summary: str = ""
    paper: str = ""
    options: type[Options] | None = None
    api: int = API_VERSION


OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True)
class Arm:
    """One method under comparison: the plug-ins that make it and the options they were given."""

    id: str
    plugins: tuple[str, ...]
    settings: Mapping[type[Options], Options] = field(default_factory=dict, repr=False)

    def options(self, kind: type[OptionsT]) -> OptionsT:
        """The calling plug-in's options, validated; its defaults where the user set none."""
        found = self.settings.get(kind)
        return found if isinstance(found, kind) else kind()


# --- data ----------------------------------------------------------------------------------------------------------


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
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Example:
    """One training conversation. `id` is unique within its dataset and stable from run to run."""

    id: str
    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChatColumns:
    """A column that holds a list of turns, `{"role", "content"}` or the older `{"from", "value"}`."""

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


Columns = ChatColumns | PairColumns | AlpacaColumns
"""How a row becomes a conversation."""


@dataclass(frozen=True)
class Hub:
    """Files of a hub dataset at a pinned revision; found in the local mirror first (`HARNESS_DATA_ROOT/<id>/`)."""

    id: str
    files: tuple[str, ...] = ()
    """Paths in the repository; none means its training files, `train*` in a format that can be read."""
    revision: str = "main"
    mirror: tuple[str, ...] = ()
    """What the mirror calls the same rows, where that differs from `files`."""


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
    """Data made from other data by a named operation. `sample` takes a share, the same for equal seeds.

    A smaller share of the same data under the same seed is contained in a larger one.
    """

    parent: str | Derived | Answered
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

    parent: str | Derived | Answered
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


Data = str | Derived | Answered
"""What a mixture is made of."""


def sample(data: Data, fraction: Fraction | None = None, *, amount: int | None = None) -> Derived:
    """`floor(fraction * n)` examples of `data`, at least one when the fraction is above 0; or `amount` of them."""
    if (fraction is None) == (amount is None):
        raise UserError(f"sample({data!r}) needs a fraction or an amount", "give exactly one of them")
    return Derived(parent=data, fraction=fraction, amount=amount)


@dataclass(frozen=True)
class Mixture:
    """Datasets trained on together, shuffled into one stream."""

    items: tuple[Data, ...]

    @classmethod
    def of(cls, *items: Data) -> Mixture:
        """`Mixture.of("general", sample("math", Fraction(1, 256)))`."""
        return cls(tuple(items))


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


# --- loss ----------------------------------------------------------------------------------------------------------


class Batch(Protocol):
    """One micro-batch as a loss sees it. All tensors have the shape [rows, length]; a row may pack several examples.

    Position t stands for the token at t, as the target of the prediction made at t - 1.
    """

    @property
    def input_ids(self) -> torch.Tensor:
        """Tokens, int64."""
        ...

    @property
    def parts(self) -> torch.Tensor:
        """`Part` of each token, uint8."""
        ...

    @property
    def segments(self) -> torch.Tensor:
        """Which example of the micro-batch the token belongs to, from 0; -1 on padding."""
        ...

    def is_part(self, *parts: Part) -> torch.Tensor:
        """1.0 where the token is one of the parts, else 0.0; float32."""
        ...

    def leads(self, part: Part) -> torch.Tensor:
        """1.0 on the unbroken run of `part` with which each example begins, else 0.0; float32."""
        ...

    @property
    def example_lengths(self) -> torch.Tensor:
        """Tokens of the example that the token belongs to, int64; 0 on padding."""
        ...

    @property
    def longest(self) -> int:
        """Tokens of the longest example of the whole optimiser step, over all its micro-batches."""
        ...

    def uniform(self, width: int) -> torch.Tensor:
        """Random numbers, uniform between -1 and 1, [rows, length, width], float32; 0 on padding.

        Fixed by the run's seed, the stage's order and the example alone: they are the same however the step is laid
        out and split, on any number of ranks, and after a resume. Every call returns the same.
        """
        ...


class Model(Protocol):
    """The model as a token loss sees it: losses per token, computed in chunks, never the whole logits."""

    def token_nll(self, batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each token given those before it, [rows, length], float32, 0 at segment starts."""
        ...

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits that predict each token, [rows, length, vocabulary]. Costs memory; for those who need them."""
        ...


def nll(model: Model, batch: Batch, references: Mapping[str, Model]) -> torch.Tensor:  # noqa: ARG001 (the shape of every token loss)
    """The plain token loss: cross-entropy."""
    return model.token_nll(batch)


@dataclass(frozen=True)
class Loss:
    """What is minimised: `sum(weights * per_token) / sum(weights)` over the whole effective batch, plus a penalty.

    `weights` is evaluated before the forward pass, so that the mean is exact over accumulation, packing and ranks.
    """

    weights: Callable[[Batch], torch.Tensor]
    per_token: Callable[[Model, Batch, Mapping[str, Model]], torch.Tensor] = nll
    penalty: Callable[[torch.nn.Module, Mapping[str, torch.nn.Module]], torch.Tensor] | None = None
    """Counted once per optimiser step, not per token."""
    references: tuple[Literal["base"], ...] = ()
    """Frozen models the loss compares with."""
    embed: Callable[[torch.Tensor, Batch], torch.Tensor] | None = None
    """Perturbs the input embeddings [rows, length, width] in training only."""


def token_loss(weights: Callable[[Batch], torch.Tensor]) -> Loss:
    """Cross-entropy under token weights: all there is to SFT, instruction modelling and prompt weighting."""
    return Loss(weights=weights)


# --- strategy and merger -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One training stage, as data. The recipe's settings hold, except where `train` names what the method defines."""

    name: str
    mixture: Mixture
    start: str = "previous"
    """`base`, `previous` (the base for the first stage) or the name of an earlier stage."""
    objective: Literal["sft", "dpo"] = "sft"
    loss: Loss | None = None
    """None: the arm's loss, which is what lets instruction modelling live inside DMT."""
    train: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[float, ...] = (1.0,)
    """Shares of the stage's data after which a checkpoint is kept."""
    seed: int | None = None


class Merger:
    """What becomes of the stages' models: one of the classes below."""


@dataclass(frozen=True)
class KeepLast(Merger):
    """The model of the last stage, untouched; refuses several unmerged experts."""


@dataclass(frozen=True)
class Average(Merger):
    """Weighted mean of the named stages' weights, `sum(a_j M_j)` (arXiv:2405.13432); uniform without weights."""

    stages: tuple[str, ...]
    weights: tuple[Fraction, ...] = ()


# --- evaluation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LmEvalTask:
    """A benchmark written as an lm-eval task."""

    task: str
    """The task's name, found in `tasks/` or in `include`."""
    metric: str
    filter: str = "none"
    """The metric and filter whose number is the benchmark's score; every other one is reported beside it."""
    include: str | None = None
    """A folder of task YAML that the plug-in ships; None for the harness's own `tasks/`."""
    chat: bool = True
    """Whether the prompt goes through the model's chat template."""
    data: tuple[Hub, ...] = ()
    """Hub datasets the task reads, so that their content enters the key and the mirror can hold them."""
    shots: int | None = None
    """Few-shot examples; None keeps the task's own number."""


@dataclass(frozen=True)
class Evaluator:
    """A benchmark: its name, the protocol that makes its number, and the task that runs it."""

    name: str
    protocol: str
    """`official`, `strict` or a protocol's own name, with a version: `strict-1`. Two protocols never share a column."""
    task: LmEvalTask
    higher_is_better: bool = True
    summary: str = ""
