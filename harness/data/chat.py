"""Conversations as tokens, each with the part it plays.

One rendering of the whole conversation through the tokenizer's own chat template is encoded once; character offsets
say which part each token belongs to. Nothing is tokenised by prefix, so training sees exactly what the template writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.api import Example, Message, Part
from harness.data.dialect import Dialect
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


@dataclass(frozen=True, eq=False)
class Encoded:
    """The same as arrays, for whoever renders many."""

    ids: npt.NDArray[np.int32]
    parts: npt.NDArray[np.uint8]
    special_in_text: int


class _Token(NamedTuple):
    """A token and its characters of the rendered text, [start, end)."""

    id: int
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Tokens in a row, and the characters of each, [tokens, 2]."""

    ids: npt.NDArray[np.int32]
    spans: npt.NDArray[np.int64]

    @classmethod
    def of(cls, encoding: Any) -> _Tokens:
        flat = np.fromiter(chain.from_iterable(encoding.offsets), dtype=np.int64, count=2 * len(encoding))
        return cls(np.asarray(encoding.ids, dtype=np.int32), flat.reshape(-1, 2))

    def __iter__(self) -> Iterator[_Token]:
        return map(_Token, self.ids.tolist(), *self.spans.T.tolist())

    def at(self, places: npt.NDArray[np.int64]) -> list[_Token]:
        """Some of them."""
        return list(_Tokens(self.ids[places], self.spans[places]))

    def replaced(self, pieces: Mapping[int, Sequence[_Token]]) -> _Tokens:
        """With other tokens in some places."""
        found = [piece for k, token in enumerate(self) for piece in pieces.get(k, (token,))]
        return _Tokens(
            np.asarray([token.id for token in found], dtype=np.int32),
            np.asarray([(token.start, token.end) for token in found], dtype=np.int64).reshape(-1, 2),
        )


class Renderer:
    """Renders conversations through a fast tokenizer and its chat template.

    RESPONSE runs from the generation prompt through the special token that ends the turn. A token that straddles
    content and template belongs to the content. Text in the data that spells a special token stays text: it is
    encoded as ordinary tokens, and counted. BOS stands once at the start where the template writes it or the
    tokenizer adds it to ordinary text.

    Plain text goes through no template: it is RESPONSE, and so is the end-of-sequence token that closes it.

    Raises UserError for a tokenizer without a chat template or without character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast | Dialect) -> None:
        from tokenizers import Tokenizer

        dialect = tokenizer if isinstance(tokenizer, Dialect) else Dialect.of(tokenizer)
        self.dialect = dialect
        """What is rendered with."""
        self.template_digest: str = dialect.template_digest
        """SHA-256 of the chat template's text."""
        # A copy: truncation, padding and the treatment of special tokens are settings of the shared object.
        self._backend = Tokenizer.from_str(dialect.backend)
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = False
        self._is_special = np.zeros(max([*self._backend.get_vocab().values(), *dialect.special]) + 1, dtype=bool)
        self._is_special[list(dialect.special)] = True
        self._bos = dialect.bos
        self._adds_bos = self._bos is not None and self._backend.encode("a").ids[:1] == [self._bos]
        self._spelt: dict[str, tuple[_Token, ...]] = {}
        self._layouts = Layouts(_render_with(dialect))

    def render(self, example: Example) -> Rendered:
        """The example as ids and parts. Raises UserError naming the example and what the template does to it."""
        encoded = self.encode(example)
        parts = tuple(_PARTS[part] for part in encoded.parts)
        return Rendered(tuple(encoded.ids.tolist()), parts, encoded.special_in_text)

    def encode(self, example: Example) -> Encoded:
        """As `render`, as arrays."""
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
        return (*self._missing_bos(tokens.ids), *tokens.ids.tolist())

    @cached_property
    def end_of_turn(self) -> int:
        """The id of the special token that ends an assistant turn, where an engine is to stop."""
        rendered = self._render((Message("user", "a"), Message("assistant", "b")))
        return int(rendered.ids[rendered.parts == Part.RESPONSE][-1])

    def _render(self, messages: Sequence[Message]) -> Encoded:
        if messages[0].role == "text":
            return self._plain(messages[0].content)
        layout = self._layouts.lay_out(messages)
        tokens, special_in_text = self._encode(layout)
        # Two more than there are characters: a token without any, at the very end, is template too.
        parts = np.full(len(layout.text) + 2, Part.TEMPLATE, dtype=np.uint8)
        for message, (start, end) in zip(messages, layout.spans, strict=True):
            if message.role != "assistant":
                parts[start:end] = Part.PROMPT
        for start, end in self._responses(messages, layout, tokens):
            parts[start:end] = Part.RESPONSE
        bos = self._missing_bos(tokens.ids)
        return Encoded(
            ids=np.concatenate([np.asarray(bos, dtype=np.int32), tokens.ids]),
            parts=np.concatenate([np.full(len(bos), Part.TEMPLATE, dtype=np.uint8), _largest(parts, tokens)]),
            special_in_text=special_in_text,
        )

    def _plain(self, text: str) -> Encoded:
        tokens, special_in_text = self._encode(Layout(text, ((0, len(text)),)))
        bos, end = self._missing_bos(tokens.ids), self.dialect.special_tokens.get("eos_token")
        eos = () if end is None else (self._backend.token_to_id(end),)
        return Encoded(
            ids=np.concatenate([np.asarray(bos, np.int32), tokens.ids, np.asarray(eos, np.int32)]),
            parts=np.repeat(np.array([Part.TEMPLATE, Part.RESPONSE], np.uint8), [len(bos), len(tokens.ids) + len(eos)]),
            special_in_text=special_in_text,
        )

    def _responses(self, messages: Sequence[Message], layout: Layout, tokens: _Tokens) -> list[tuple[int, int]]:
        """Characters of each assistant turn, from where its generation starts through its end-of-turn token."""
        turns = [turn for turn, message in enumerate(messages) if message.role == "assistant"]
        special = tokens.at(np.flatnonzero(self._is_special[tokens.ids]))
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

    def _encode(self, layout: Layout) -> tuple[_Tokens, int]:
        """The text's tokens, those that the data spelt replaced by ordinary ones, and how many were."""
        tokens = _Tokens.of(self._backend.encode(layout.text, add_special_tokens=False))
        special = np.flatnonzero(self._is_special[tokens.ids])
        spelt = {
            int(k): self._as_text(layout.text, token)
            for k, token in zip(special, tokens.at(special), strict=True)
            if _in_content(token, layout)
        }
        return (tokens.replaced(spelt) if spelt else tokens), len(spelt)

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
                found = _Tokens.of(encoding)
                pieces = [_Token(id_, start - cut, end - cut) for id_, start, end in found if end > cut]
                if pieces and all(piece.start >= 0 and not self._is_special[piece.id] for piece in pieces):
                    return tuple(pieces)
        finally:
            self._backend.encode_special_tokens = False
        raise UserError(
            f"the data spells the special token {literal!r}, which the tokenizer cannot write as ordinary text",
            "leave such examples out",
        )

    def _missing_bos(self, ids: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """BOS where the tokenizer starts texts with it and the template did not."""
        starts = ids[:2].tolist()
        if self._bos is not None and starts == [self._bos, self._bos]:
            raise UserError("the chat template writes BOS twice", "remove one `bos_token` from the template")
        return (self._bos,) if self._bos is not None and self._adds_bos and starts[:1] != [self._bos] else ()


def _largest(parts: npt.NDArray[np.uint8], tokens: _Tokens) -> npt.NDArray[np.uint8]:
    """The part that each token belongs to: the largest among its characters, for TEMPLATE < PROMPT < RESPONSE."""
    starts, ends = tokens.spans.T
    borders = np.empty(2 * len(tokens.ids), dtype=np.int64)
    borders[::2], borders[1::2] = starts, np.maximum(ends, starts + 1)
    return np.maximum.reduceat(parts, borders)[::2] if len(borders) else parts[:0]


def _in_content(token: _Token, layout: Layout) -> bool:
    """Whether a content spelt the token; white space that a template's own token swallowed does not count."""
    literal = layout.text[token.start : token.end]
    start = token.start + len(literal) - len(literal.lstrip())
    end = token.start + len(literal.rstrip())
    return any(start < span_end and span_start < end for span_start, span_end in layout.spans)


def _render_with(dialect: Dialect) -> Callable[[Sequence[Message], bool], str]:
    # What `apply_chat_template` calls; importing it alone takes a tenth of the time and memory of a tokenizer's class.
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(messages: Sequence[Message], generate: bool) -> str:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        (text,), _ = render_jinja_template(
            conversations=[conversation],
            chat_template=dialect.template,
            add_generation_prompt=generate,
            **{**dialect.special_tokens, "strftime_now": TODAY.strftime},
        )
        return str(text)

    return render
