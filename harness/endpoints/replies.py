"""What a server's JSON says, typed. A reply that lacks what it must hold is malformed, whatever its status."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic

from harness.canonical import Json

Reading = TypeVar("Reading", bound=pydantic.BaseModel)


class Malformed(Exception):  # noqa: N818 (what the reply is)
    """Not the JSON of a reply."""


class _Read(pydantic.BaseModel):
    """Base of what is read: frozen; what servers add of their own is passed over, and no number is NaN or infinite."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )


class Usage(_Read):
    """Tokens as the server counts, and charges, them."""

    prompt_tokens: Annotated[int, pydantic.Field(ge=0)]
    completion_tokens: Annotated[int, pydantic.Field(ge=0)] = 0
    """Of the answer, thinking included."""


class TokenLogprob(_Read):
    """One token of an answer: its natural log-probability, and those of the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class ChatReply(_Read):
    """The answer to a chat."""

    text: str
    """As it was written, thinking included where the server leaves it in; empty for some refusals."""
    finish: str | None = None
    """`stop`, `length`, `content_filter`, or a word of the server's own."""
    model: str = ""
    """As the server names it, which may be more exact than what was asked for."""
    refusal: str | None = None
    """Why nothing was answered, in the server's or the model's words."""
    reasoning: str | None = None
    """The thinking, where the server keeps it apart."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    usage: Usage | None = None

    @property
    def refused(self) -> bool:
        """Whether the server says that the model would not, or must not, answer."""
        return self.refusal is not None or self.finish == "content_filter"


class CompletionReply(_Read):
    """The continuation of a text. The lists have one entry a token, of the prompt too where `echo` was asked for."""

    text: str
    finish: str | None = None
    model: str = ""
    tokens: tuple[str, ...] | None = None
    logprobs: tuple[float | None, ...] | None = None
    """Natural; None for a first token, which nothing predicts."""
    top: tuple[dict[str, float] | None, ...] | None = None
    """The likeliest tokens in each place."""
    usage: Usage | None = None


def parse(body: bytes, key: str | None = None) -> Json:
    """A reply's JSON, with `key` starred out of every text in it. Raises Malformed."""
    try:
        return _cleaned(json.loads(body.decode(), parse_constant=_no_number), key)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a reply of {len(body)} bytes that is no whole JSON") from error


def read_chat(value: Json, *, logprobs: bool = False) -> ChatReply:
    """The first choice of a chat completion, which must carry log-probabilities where they were asked for."""
    choice = _first_choice(value)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Malformed("a reply without a message")
    finish, refusal = choice.get("finish_reason"), message.get("refusal")
    thinking = message.get("reasoning_content") or message.get("reasoning")
    # Silence has to have a reason: it was cut while thinking, or it refuses.
    silent = bool(refusal or thinking) or finish in {"content_filter", "length"}
    content = message.get("content")
    found = _validated(
        ChatReply,
        {
            "text": "" if content is None and silent else content,
            "finish": finish,
            "model": value.get("model") or "",
            "refusal": refusal or None,
            "reasoning": thinking or None,
            "logprobs": _chat_logprobs(choice.get("logprobs")),
            "usage": _usage(value),
        },
    )
    if logprobs and not found.refused and not found.logprobs:
        raise Malformed("a reply without the log-probabilities that were asked for")
    return found


def read_completion(value: Json, *, logprobs: bool = False) -> CompletionReply:
    """The first choice of a text completion, which must carry log-probabilities where they were asked for."""
    choice = _first_choice(value)
    listed = choice.get("logprobs")
    listed = listed if isinstance(listed, dict) else {}
    found = _validated(
        CompletionReply,
        {
            "text": choice.get("text"),
            "finish": choice.get("finish_reason"),
            "model": value.get("model") or "",
            "tokens": listed.get("tokens"),
            "logprobs": listed.get("token_logprobs"),
            "top": listed.get("top_logprobs"),
            "usage": _usage(value),
        },
    )
    if logprobs and (found.logprobs is None or found.tokens is None or len(found.tokens) != len(found.logprobs)):
        raise Malformed("a reply without the log-probabilities that were asked for")
    return found


def _first_choice(value: Json) -> dict[str, Any]:
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed("a reply without choices")
    first: dict[str, Any] = choices[0]
    return first


def _chat_logprobs(listed: Json) -> Json:
    content = listed.get("content") if isinstance(listed, dict) else None
    if not isinstance(content, list):
        return None
    try:
        return [
            {
                "token": at["token"],
                "logprob": at["logprob"],
                "top": [(top["token"], top["logprob"]) for top in at.get("top_logprobs") or ()],
            }
            for at in content
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise Malformed("a reply with broken log-probabilities") from error


def _usage(value: Json) -> Json:
    """What is charged; None where the server does not say, which is no reason to lose the answer."""
    try:
        return Usage.model_validate(value.get("usage"))
    except pydantic.ValidationError:
        return None


def _validated(kind: type[Reading], fields: Json) -> Reading:
    try:
        return kind.model_validate(fields, strict=False)
    except pydantic.ValidationError as error:
        place = error.errors(include_url=False, include_input=False)[0]["loc"]
        raise Malformed(f"a reply whose {'.'.join(map(str, place))} is missing or broken") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _cleaned(value: Json, key: str | None) -> Json:
    """Without the key, and of whole characters."""
    if isinstance(value, str):
        return scrubbed(whole(value), key)
    if isinstance(value, list):
        return [_cleaned(inner, key) for inner in value]
    if isinstance(value, dict):
        return {_cleaned(name, key): _cleaned(inner, key) for name, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):  # 1e999
        raise ValueError(value)
    return value


def whole(text: str) -> str:
    """The text with halves of surrogate pairs, which neither files nor requests can hold, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def scrubbed(text: str, key: str | None) -> str:
    """The text with the key starred out."""
    return text.replace(key, "***") if key else text
