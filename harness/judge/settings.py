"""Which judge, what of it decides its replies, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from harness.canonical import Json, digest
from harness.endpoints.access import ServerAccess
from harness.errors import UserError
from harness.jobs import Declaration

_OWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "temperature",
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
        "top_logprobs",
        "n",
        "stream",
    }
)


class JudgeSettings(Declaration):
    """What decides a judge's verdicts. How an answer is drawn is the protocol's business, unless it is set here."""

    model: str = pydantic.Field(min_length=1)
    """As the server knows it."""
    name: str | None = pydantic.Field(None, min_length=1)
    """What the server is called in keys, so that another address can be the same judge; None: host, port and path."""
    temperature: float | None = pydantic.Field(None, ge=0)
    max_tokens: int | None = pydantic.Field(None, ge=1)
    """Of each reply; a judge that thinks needs more than protocols give."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls that limit."""
    reasoning: bool = False
    """The judge thinks in `<think>` blocks before it answers: they are cut out of what is parsed."""
    reask: int = pydantic.Field(2, ge=0)
    """How often a reply that cannot be parsed is asked for again."""
    extra: Mapping[str, Any] = pydantic.Field(default_factory=dict)
    """Further fields of every request, `{reasoning_effort: low}`."""

    @pydantic.field_validator("extra")
    @classmethod
    def _only_further_fields(cls, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        if taken := sorted(_OWN_FIELDS & set(extra)):
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        return extra

    @property
    def identity(self) -> Json:
        """Whose replies they are, whatever is asked and however: the server's name and the model."""
        return {"endpoint": self.name, "model": self.model}

    @property
    def digest(self) -> str:
        """SHA-256 of the identity."""
        return digest(self.identity)


class Prices(Declaration):
    """What a judge charges."""

    price_in: float | None = pydantic.Field(None, ge=0)
    """Dollars for a million tokens of prompt."""
    price_out: float | None = pydantic.Field(None, ge=0)
    """Dollars for a million tokens of answer."""


class JudgeAccess(Prices, ServerAccess):
    """How the judge is reached, what it charges and what it may cost; none of it enters a key."""

    budget: float | None = pydantic.Field(None, gt=0)
    """Dollars that this judge's replies in this store may cost in all, those of earlier runs included."""
    max_calls: int | None = pydantic.Field(None, ge=1)
    """Calls that may be made in all, those that brought stored replies in earlier runs included."""

    @property
    def bounded(self) -> bool:
        """Whether it may be asked before it is known how much: it has no price, or what it may cost has a bound."""
        return not (self.price_in or self.price_out) or self.budget is not None or self.max_calls is not None

    @pydantic.model_validator(mode="after")
    def _priced(self) -> JudgeAccess:
        if self.budget is not None and (self.price_in is None or self.price_out is None):
            raise UserError(
                "a judge's budget is in dollars, and its prices are not known", "set price_in and price_out"
            )
        return self


class Judging(JudgeAccess, JudgeSettings):
    """A judge as a recipe names it. What decides its verdicts enters keys; how it is reached does not."""

    def settings(self) -> JudgeSettings:
        """What decides its verdicts, with the server's name filled in."""
        values = self.model_dump(include=set(JudgeSettings.model_fields))
        return JudgeSettings.model_validate({**values, "name": self.name or self.place})

    def access(self) -> JudgeAccess:
        """How it is reached."""
        return JudgeAccess.model_validate(self.model_dump(include=set(JudgeAccess.model_fields)))
