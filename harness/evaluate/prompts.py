"""A task's contexts as token ids: through the chat template or as plain text, with BOS once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.api import Message
from harness.data.chat import TODAY, Renderer
from harness.engines.protocol import Tokenizer

Ids = tuple[int, ...]


class Prompts:
    """Encodes what a task asks, under one tokenizer.

    lm-eval builds contexts as text. A chat context is therefore handed through it as the JSON of its messages, and is
    rendered here, by the same code that renders training examples. Raises UserError for a tokenizer without a chat
    template where one is wanted.
    """

    def __init__(self, tokenizer: Tokenizer, *, chat: bool) -> None:
        self._tokenizer = tokenizer
        self._renderer = Renderer(tokenizer) if chat else None
        self.template_digest = self._renderer.template_digest if self._renderer else None
        """SHA-256 of the chat template; None where there is none in play."""
        self.end_ids: Ids = (self._renderer.end_of_turn,) if self._renderer else ()
        """What ends an answer besides the model's own end-of-sequence tokens."""

    @staticmethod
    def context(messages: Sequence[dict[str, str]], **_: Any) -> str:
        """A chat context on its way through lm-eval."""
        return json.dumps(messages)

    def prompt(self, context: str) -> Ids:
        """The ids that generation starts from."""
        if self._renderer is None:
            return self._encode(context)
        messages = [Message(**message) for message in json.loads(context)]
        if messages[-1].role != "assistant":
            return self._renderer.prompt(messages)
        begun = self._tokenizer.encode(messages[-1].content, add_special_tokens=False)
        return (*self._renderer.prompt(messages[:-1]), *begun)

    def pair(self, context: str, continuation: str) -> tuple[Ids, Ids]:
        """Context and continuation, encoded in one and split: how lm-eval does it.

        White space at the end of the context belongs to the continuation, since tokens start with their space.
        """
        if self._renderer is not None:
            messages = json.loads(context)
            begun = messages[-1]["role"] == "assistant"
            context = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not begun,
                continue_final_message=begun,
                strftime_now=TODAY.strftime,
            )
        if not context:
            ids = tuple(self._tokenizer.encode(continuation, add_special_tokens=False))
            first = self._tokenizer.bos_token_id
            first = self._tokenizer.eos_token_id if first is None else first
            return (ids[:1], ids[1:]) if ids[0] == first else ((first,), ids)
        bare = context.rstrip()
        whole = self._encode(context + continuation)
        start = len(self._encode(bare))
        return whole[:start], whole[start:]

    def bos_count(self, ids: Ids) -> int:
        """How many BOS tokens the ids start with."""
        bos = self._tokenizer.bos_token_id
        return next((n for n, token in enumerate(ids) if token != bos), len(ids))

    def _encode(self, text: str) -> Ids:
        bos = self._tokenizer.bos_token
        return tuple(self._tokenizer.encode(text, add_special_tokens=not (bos and text.startswith(bos))))
