"""From a protocol's prompt to what is sent, and from what came back to what the protocol reads."""

from __future__ import annotations

import re

from harness.api import JudgePrompt, JudgeReply
from harness.canonical import Json, digest
from harness.endpoints.replies import ChatReply, whole
from harness.judge.settings import JudgeSettings

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
_CLOSED = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)


def request_body(prompt: JudgePrompt, settings: JudgeSettings) -> dict[str, Json]:
    """What is sent: the prompt drawn as its protocol wants it, unless the judge's settings say otherwise."""
    probabilities = {} if prompt.top_logprobs is None else {"logprobs": True, "top_logprobs": prompt.top_logprobs}
    return {
        "model": settings.model,
        "messages": [{"role": message.role, "content": whole(message.content)} for message in prompt.messages],
        "temperature": prompt.temperature if settings.temperature is None else settings.temperature,
        settings.max_tokens_field: answer_tokens(prompt, settings),
        **probabilities,
        **settings.extra,
    }


def answer_tokens(prompt: JudgePrompt, settings: JudgeSettings) -> int:
    """The limit of a reply's tokens."""
    return settings.max_tokens or prompt.max_tokens


def reply_key(prompt: JudgePrompt, settings: JudgeSettings, attempt: int) -> str:
    """SHA-256 of all that decides the reply of an attempt, counted from 0."""
    return digest(
        {
            "endpoint": settings.name,
            "body": request_body(prompt, settings),
            "revision": prompt.revision,
            "repeat": prompt.repeat,
            "attempt": attempt,
        }
    )


def as_read(chat: ChatReply, settings: JudgeSettings) -> JudgeReply:
    """A reply as protocols parse it."""
    return JudgeReply(
        text=without_thinking(chat.text) if settings.reasoning else chat.text,
        logprobs=tuple(at.top for at in chat.logprobs or ()),
        finish=chat.finish or "stop",
        model=chat.model,
    )


def without_thinking(text: str) -> str:
    """What follows the thinking; nothing, where the thinking did not come to an end.

    A chat template may have opened the block in the prompt, so that only its end is there.
    """
    return _OPENED.sub("", _CLOSED.sub("", _THOUGHT.sub("", text))).strip()
