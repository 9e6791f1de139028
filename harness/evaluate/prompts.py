"""A task's contexts as token ids: through the chat template or as plain text, with BOS once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.api import Ask, Message
from harness.canonical import Json, digest
from harness.data.chat import TODAY, Renderer
from harness.engines.protocol import Tokenizer
from harness.evaluate.conversations import Template

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Encoded:
    """A prompt as ids, and what ends its answer besides the model's own end-of-sequence tokens."""

    ids: Ids
    stop: tuple[str, ...] = ()
    end_ids: Ids = ()
    sent: str | None = None
    """The text that stands for a conversation where there are no ids."""


class Prompts:
    """Encodes what a task asks, under one tokenizer.

    lm-eval builds contexts as text. A chat context is therefore handed through it as the JSON of its messages, and is
    rendered here, by the same code that renders training examples. Raises UserError for a tokenizer without a chat
    template where one is wanted.
    """

    def __init__(self, tokenizer: Tokenizer, *, chat: bool = False) -> None:
        self._tokenizer = tokenizer
        self.chat = chat
        """Whether lm-eval's contexts are conversations."""
        self._templates: dict[str, Template] = {}
        if chat:
            _ = self._renderer

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self._tokenizer)

    @property
    def template_digest(self) -> str | None:
        """SHA-256 of the chat template, and of FastChat's where it was used instead; None where none was."""
        used = [self._renderer.template_digest] if "_renderer" in self.__dict__ else []
        used += [template.digest for _, template in sorted(self._templates.items())]
        return None if not used else used[0] if len(used) == 1 else digest(used)

    @property
    def end_ids(self) -> Ids:
        """What ends an answer in a conversation besides the model's own end-of-sequence tokens."""
        return (self._renderer.end_of_turn,)

    def of(self, ask: Ask) -> Encoded:
        """What a plug-in's benchmark asks."""
        if isinstance(ask.prompt, str):
            return Encoded(self.text(ask.prompt))
        if ask.template is None:
            return Encoded(self.messages(ask.prompt), end_ids=self.end_ids)
        if ask.template not in self._templates:
            self._templates[ask.template] = Template(ask.template)
        rendered = self._templates[ask.template].render(ask.prompt)
        return Encoded(self.text(rendered.text), rendered.stop, rendered.end_ids)

    def messages(self, messages: Sequence[Message]) -> Ids:
        """A conversation, to be answered by the assistant; an assistant's turn at its end is gone on with."""
        if messages[-1].role != "assistant":
            return self._renderer.prompt(messages)
        begun = self._tokenizer.encode(messages[-1].content, add_special_tokens=False)
        return (*self._renderer.prompt(messages[:-1]), *begun)

    def text(self, text: str) -> Ids:
        """A text to be gone on with."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[Ids]:
        """Many at once: a fast tokenizer shares them out among the cores."""
        bos = self._tokenizer.bos_token
        ids: dict[str, Ids] = {}
        for has_bos in (False, True):
            if batch := [text for text in dict.fromkeys(texts) if bool(bos and text.startswith(bos)) is has_bos]:
                encoded = self._tokenizer(batch, add_special_tokens=not has_bos, return_attention_mask=False)
                ids |= zip(batch, map(tuple, encoded["input_ids"]), strict=True)
        return [ids[text] for text in texts]

    @staticmethod
    def context(messages: Sequence[dict[str, str]], **_: Any) -> str:
        """A chat context on its way through lm-eval."""
        return json.dumps(messages)

    def prompts(self, contexts: Sequence[str]) -> list[Ids]:
        """The ids that generation starts from, of contexts as lm-eval hands them on."""
        if not self.chat:
            return self.texts(contexts)
        return [self.messages([Message(**message) for message in json.loads(context)]) for context in contexts]

    def said(self, context: str) -> Json:
        """A context as lm-eval hands it on, for people: messages or a text."""
        return json.loads(context) if self.chat else context

    def pairs(self, asked: Sequence[tuple[str, str]]) -> list[tuple[Ids, Ids]]:
        """Contexts and continuations, each pair encoded in one and split: how lm-eval does it.

        White space at the end of a context belongs to the continuation, since tokens start with their space. Choices
        of one context share its ids, so that thousands of them do not fill the memory.
        """
        plain = {context: self._plain(context) for context in dict.fromkeys(context for context, _ in asked)}
        bare = self.texts([context.rstrip() for context in plain.values()])
        starts = dict(zip(plain, bare, strict=True))
        wholes = self.texts([plain[context] + continuation for context, continuation in asked])
        return [
            _split(whole, starts[context]) if plain[context] else self._after_nothing(continuation)
            for (context, continuation), whole in zip(asked, wholes, strict=True)
        ]

    def _plain(self, context: str) -> str:
        """The text of a context; a conversation's through the chat template."""
        if not self.chat:
            return context
        messages = json.loads(context)
        begun = messages[-1]["role"] == "assistant"
        rendered: str = self._tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not begun,
            continue_final_message=begun,
            strftime_now=TODAY.strftime,
        )
        return rendered

    def _after_nothing(self, continuation: str) -> tuple[Ids, Ids]:
        """A continuation without context, after BOS or what stands for it."""
        ids = tuple(self._tokenizer.encode(continuation, add_special_tokens=False))
        first = self._tokenizer.bos_token_id
        first = self._tokenizer.eos_token_id if first is None else first
        return (ids[:1], ids[1:]) if ids[0] == first else ((first,), ids)

    def bos_count(self, ids: Ids) -> int:
        """How many BOS tokens the ids start with."""
        bos = self._tokenizer.bos_token_id
        return next((n for n, token in enumerate(ids) if token != bos), len(ids))


def _split(whole: Ids, start: Ids) -> tuple[Ids, Ids]:
    """The ids after as many as `start` has, and those before: `start` itself where they are the same."""
    before = whole[: len(start)]
    return start if before == start else before, whole[len(start) :]
