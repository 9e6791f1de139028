"""FastChat's conversation templates, by name: a conversation as the text that a model continues.

A model trained on one of them, such as `vicuna_v1.1`, is asked in it rather than in its tokenizer's chat template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.api import Message
from harness.canonical import Json, digest
from harness.discovery import suggestion
from harness.errors import UserError


@dataclass(frozen=True)
class Rendered:
    """A conversation up to the answer that is wanted."""

    text: str
    stop: tuple[str, ...]
    """Texts that end the answer, besides the model's end-of-sequence tokens."""
    end_ids: tuple[int, ...]
    """Tokens that end it: ids of the tokenizer that the template was made for."""


class Template:
    """One of FastChat's templates. Raises UserError for an unknown name, and where FastChat is not installed."""

    def __init__(self, name: str) -> None:
        self._conversation = _find(name)
        self.digest = digest(_plain(self._conversation))
        """SHA-256 of all that the template says."""

    def render(self, messages: Sequence[Message]) -> Rendered:
        """The text for a conversation that ends with a user turn; a system turn replaces the template's own."""
        conversation = self._conversation.copy()
        user, assistant = conversation.roles
        for message in messages:
            if message.role == "system":
                conversation.set_system_message(message.content)
            else:
                conversation.append_message(user if message.role == "user" else assistant, message.content)
        conversation.append_message(assistant, None)
        stop = conversation.stop_str or ()
        return Rendered(
            conversation.get_prompt(),
            (stop,) if isinstance(stop, str) else tuple(stop),
            tuple(conversation.stop_token_ids or ()),
        )


def _find(name: str) -> Any:
    try:
        from fastchat.conversation import conv_templates
    except ImportError:
        raise UserError(
            f"the conversation template {name} is FastChat's, which is not installed",
            'pip install "instruct-harness[judges]"',
        ) from None
    # Those of services behind an API have no separators, and cannot be rendered.
    local = {found: template for found, template in conv_templates.items() if template.sep_style is not None}
    if name not in local:
        raise UserError(f"FastChat has no conversation template {name!r} for local models", suggestion(name, [*local]))
    return local[name]


def _plain(conversation: Any) -> Json:
    """Its fields as JSON."""
    style = conversation.sep_style.name
    return {**conversation.dict(), "system_template": conversation.system_template, "sep_style": style} | {
        field: getattr(conversation, field) for field in ("sep", "sep2", "stop_str", "stop_token_ids")
    }
