"""The protocol of an engine: token ids in, text or log-likelihoods out, in lots as they finish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.canonical import Json

Tokenizer = Any
"""A `transformers` tokenizer; that package is not imported here."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. Temperature 0 is greedy; any other needs a seed, so that it can be drawn again."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are no part of it. The model's end-of-sequence tokens always end it."""
    end_ids: tuple[int, ...] = ()
    """Tokens that end the answer besides the model's own."""
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1 or "" in self.stop:
            raise ValueError(f"not a way to sample: {self}")
        if self.temperature > 0 and self.seed is None:
            raise ValueError("sampling at a temperature above 0 needs a seed")


@dataclass(frozen=True)
class GenerateRequest:
    """A prompt to be continued. `id` is unique among the requests that are under way."""

    id: str
    prompt_ids: tuple[int, ...]
    """Empty for an engine without a tokenizer, which sends what was `asked`."""
    sampling: Sampling
    round: int = 0
    """How many answers about the same item this one follows."""
    asked: Json = field(default=None, compare=False, repr=False)
    """What the ids say, as the benchmark wrote it: `prompt`, a text or messages. Beside ids for people alone."""


@dataclass(frozen=True)
class Generation:
    """A continuation: without special tokens and stop texts in `text`, as generated in `token_ids`."""

    text: str
    token_ids: tuple[int, ...]
    finish: Literal["stop", "length"]
    prompt_cut: int
    """Tokens cut from the left of the prompt to fit the context."""
    prompt_tokens: int | None = None
    generated: int | None = None
    """What a server counts that tells no ids."""

    @property
    def tokens(self) -> int:
        """How many were generated."""
        return len(self.token_ids) if self.generated is None else self.generated


@dataclass(frozen=True)
class LoglikelihoodRequest:
    """A continuation to be scored after a context, both non-empty; or as `asked`, for an engine without a tokenizer."""

    id: str
    context_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]
    round: int = 0
    asked: Json = field(default=None, compare=False, repr=False)
    """As above, with the `continuation`."""

    def __post_init__(self) -> None:
        if not (self.context_ids and self.continuation_ids) and not (self.asked and self.asked["continuation"]):
            raise ValueError(f"request {self.id}: context and continuation need a token each")


@dataclass(frozen=True)
class Loglikelihood:
    """The sum of the continuation's log-probabilities (natural), and whether greedy decoding would have given it."""

    logprob: float
    greedy: bool
    prompt_cut: int
    prompt_tokens: int | None = None
    """Of context and continuation, as a server counts them that tells no ids."""


@dataclass(frozen=True)
class Unanswered:
    """A request that cannot be answered, though others can: too long for a server, say. Asked again another time."""

    reason: str


Request = GenerateRequest | LoglikelihoodRequest
Answer = Generation | Loglikelihood
Told = Answer | Unanswered
Lot = Sequence[tuple[str, Told]]
"""Request ids, and what came of those that were computed together; stored whole or not at all."""


class Waiting(Protocol):
    """Requests in line; answers may bring new ones, so it can grow while an engine takes from it."""

    def __bool__(self) -> bool: ...

    def popleft(self) -> Request:
        """The next."""
        ...


class Engine(Protocol):
    """A model that answers requests. With a tokenizer it is given ids, never text, and nothing is added to them."""

    mixes: bool
    """Whether requests of several benchmarks keep it fuller; else each benchmark's are computed by themselves, and
    come out the same whatever is asked beside them."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's own; None where only a server has it."""
        ...

    def why_no_likelihoods(self) -> str | None:
        """Why it gives no log-likelihoods; None where it does."""
        ...

    def answer(self, waiting: Waiting) -> Iterator[Lot]:
        """Take requests until none waits and none is under way; the caller may add some between two lots.

        A prompt longer than `max_length - max_new_tokens` is cut on the left and counted; the context of a continuation
        is cut to `max_length` together with it.
        """
        ...

    def load(self, model_dir: Path) -> None:
        """Take the weights of another model of the same architecture and tokenizer."""
        ...

    def close(self) -> None:
        """Give the memory back; the engine answers no more."""
        ...
