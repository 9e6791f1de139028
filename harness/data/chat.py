"""Conversations as tokens, each with the part it plays.

One rendering of the whole conversation through the tokenizer's own chat template is encoded once; character offsets
say which part each token belongs to. Nothing is tokenised by prefix, so training sees exactly what the template writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.api import Example, Message, Part
from harness.data.layout import Layout, Layouts
from harness.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TODAY = datetime(2024, 7, 26, tzinfo=UTC)
"""What templates that write the date are told, so that equal data gives equal tokens on any day."""

_PARTS = tuple(Part)
_GUARDS = ("\n", "x", ".", "0")


@dataclass(frozen=True)
class Rendered:
    """A conversation as token ids, the part of each, and how often its contents spelt a special token."""

    ids: tuple[int, ...]
    parts: tuple[Part, ...]
    special_in_text: int


class _Token(NamedTuple):
    """A token and its characters of the rendered text, [start, end)."""

    id: int
    start: int
    end: int


class Renderer:
    """Renders conversations through a fast tokenizer and its chat template.

    RESPONSE runs from the generation prompt through the special token that ends the turn. A token that straddles
    content and template belongs to the content. Text in the data that spells a special token stays text: it is
    encoded as ordinary tokens, and counted. BOS stands once at the start where the template writes it or the
    tokenizer adds it to ordinary text.

    Raises UserError for a tokenizer without a chat template or without character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        from tokenizers import Tokenizer

        if not tokenizer.is_fast:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} is a slow one, which gives no character offsets",
                "use a model that ships a tokenizer.json",
            )
        if not tokenizer.chat_template:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} has no chat template",
                "name one as `chat_template:` of the model, for example tulu or chatml",
            )
        template: str = tokenizer.get_chat_template()
        self.template_digest: str = hashlib.sha256(template.encode()).hexdigest()
        """SHA-256 of the chat template's text."""
        # A copy: truncation, padding and the treatment of special tokens are settings of the shared object.
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = False
        added = tokenizer.added_tokens_decoder
        special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        # What stands for unknown text may stand anywhere. Byte-level tokenizers know all text, and often let the end of
        # text double as that token: there it stays special.
        unknown = {tokenizer.unk_token_id} - {tokenizer.bos_token_id, tokenizer.eos_token_id}
        self._special = frozenset(special - unknown)
        self._bos: int | None = tokenizer.bos_token_id
        self._adds_bos = self._bos is not None and self._backend.encode("a").ids[:1] == [self._bos]
        self._spelt: dict[str, tuple[_Token, ...]] = {}
        self._layouts = Layouts(_render_with(tokenizer, template))

    def render(self, example: Example) -> Rendered:
        """The example as ids and parts. Raises UserError naming the example and what the template does to it."""
        try:
            return self._render(example.messages)
        except UserError as error:
            raise UserError(f"example {example.id}: {error.problem}", error.remedy) from None

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids to generate the next assistant turn from: the messages with the generation prompt.

        They are how a training example with these messages starts, before a straddling token, if there is one.
        """
        turns = [*messages, Message("assistant", "x")]
        self._layouts.response_start(turns, len(messages), self._layouts.lay_out(turns))
        layout = self._layouts.lay_out(messages, generate=True)
        tokens, _ = self._encode(layout)
        return (*self._missing_bos(tokens), *(token.id for token in tokens))

    @cached_property
    def end_of_turn(self) -> int:
        """The id of the special token that ends an assistant turn, where an engine is to stop."""
        rendered = self._render((Message("user", "a"), Message("assistant", "b")))
        return [id_ for id_, part in zip(rendered.ids, rendered.parts, strict=True) if part is Part.RESPONSE][-1]

    def _render(self, messages: Sequence[Message]) -> Rendered:
        layout = self._layouts.lay_out(messages)
        tokens, special_in_text = self._encode(layout)
        parts = bytearray(len(layout.text))
        for message, (start, end) in zip(messages, layout.spans, strict=True):
            if message.role != "assistant":
                parts[start:end] = bytes([Part.PROMPT]) * (end - start)
        for start, end in self._responses(messages, layout, tokens):
            parts[start:end] = bytes([Part.RESPONSE]) * (end - start)
        bos = self._missing_bos(tokens)
        # TEMPLATE < PROMPT < RESPONSE, so the largest part among a token's characters is the one it belongs to.
        of_token = (max(parts[token.start : max(token.end, token.start + 1)], default=0) for token in tokens)
        return Rendered(
            ids=(*bos, *(token.id for token in tokens)),
            parts=(*(Part.TEMPLATE for _ in bos), *(_PARTS[part] for part in of_token)),
            special_in_text=special_in_text,
        )

    def _responses(
        self, messages: Sequence[Message], layout: Layout, tokens: Sequence[_Token]
    ) -> list[tuple[int, int]]:
        """Characters of each assistant turn, from where its generation starts through its end-of-turn token."""
        turns = [turn for turn, message in enumerate(messages) if message.role == "assistant"]
        special = [token for token in tokens if token.id in self._special]
        closing = [self._end_of_turn(layout, turn, special) for turn in turns]
        if len({token.id for token in closing}) > 1:
            names = ", ".join(sorted({repr(layout.text[token.start : token.end]) for token in closing}))
            raise UserError(
                f"the chat template ends assistant turns with different tokens: {names}",
                "choose a chat template that ends every assistant turn alike",
            )
        starts = [self._layouts.response_start(messages, turn, layout) for turn in turns]
        return [(start, token.end) for start, token in zip(starts, closing, strict=True)]

    @staticmethod
    def _end_of_turn(layout: Layout, turn: int, special: Sequence[_Token]) -> _Token:
        end = layout.spans[turn][1]
        limit = layout.spans[turn + 1][0] if turn + 1 < len(layout.spans) else len(layout.text)
        for token in special:
            if token.end > end and token.start < limit:
                return token
        raise UserError(
            f"no special token ends the assistant turn: the chat template writes {layout.text[end:limit][:24]!r} there",
            "a model so trained would never stop; choose a template whose end-of-turn token the tokenizer knows",
        )

    def _encode(self, layout: Layout) -> tuple[list[_Token], int]:
        """The text's tokens, those that the data spelt replaced by ordinary ones, and how many were."""
        encoding = self._backend.encode(layout.text, add_special_tokens=False)
        tokens = _tokens(encoding)
        spelt = [k for k, token in enumerate(tokens) if token.id in self._special and _in_content(token, layout)]
        for k in reversed(spelt):
            tokens[k : k + 1] = self._as_text(layout.text, tokens[k])
        return tokens, len(spelt)

    def _as_text(self, text: str, token: _Token) -> list[_Token]:
        literal = text[token.start : token.end]
        if literal not in self._spelt:
            self._spelt[literal] = self._spell_out(literal)
        return [_Token(piece.id, token.start + piece.start, token.start + piece.end) for piece in self._spelt[literal]]

    def _spell_out(self, literal: str) -> tuple[_Token, ...]:
        """The ordinary tokens of a special token's text, offsets from its start.

        Some tokenizers put a space before any text; a guard before the literal takes it, where a token ends there.
        """
        self._backend.encode_special_tokens = True
        try:
            for guard in _GUARDS:
                encoding = self._backend.encode(guard + literal, add_special_tokens=False)
                cut = len(guard)
                pieces = [_Token(id_, start - cut, end - cut) for id_, start, end in _tokens(encoding) if end > cut]
                if pieces and all(piece.start >= 0 and piece.id not in self._special for piece in pieces):
                    return tuple(pieces)
        finally:
            self._backend.encode_special_tokens = False
        raise UserError(
            f"the data spells the special token {literal!r}, which the tokenizer cannot write as ordinary text",
            "leave such examples out",
        )

    def _missing_bos(self, tokens: Sequence[_Token]) -> tuple[int, ...]:
        """BOS where the tokenizer starts texts with it and the template did not."""
        starts = [token.id for token in tokens[:2]]
        if self._bos is not None and starts == [self._bos, self._bos]:
            raise UserError("the chat template writes BOS twice", "remove one `bos_token` from the template")
        return (self._bos,) if self._bos is not None and self._adds_bos and starts[:1] != [self._bos] else ()


def _tokens(encoding: Any) -> list[_Token]:
    return [_Token(id_, start, end) for id_, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)]


def _in_content(token: _Token, layout: Layout) -> bool:
    """Whether a content spelt the token; white space that a template's own token swallowed does not count."""
    literal = layout.text[token.start : token.end]
    start = token.start + len(literal) - len(literal.lstrip())
    end = token.start + len(literal.rstrip())
    return any(start < span_end and span_start < end for span_start, span_end in layout.spans)


def _render_with(tokenizer: PreTrainedTokenizerFast, template: str) -> Callable[[Sequence[Message], bool], str]:
    def render(messages: Sequence[Message], generate: bool) -> str:
        text: str = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=generate,
            strftime_now=TODAY.strftime,
        )
        return text

    return render
