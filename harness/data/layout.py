"""Where each turn's content stands in a rendered conversation, found by character and proven, not guessed.

Searching the text for the contents mislabels those that equal a role's name, repeat or are empty. So the roles are
rendered once more with a unique sentinel for every content; what stands between sentinels is the template's own text,
and the conversation must be exactly that text around its contents, up to white space the template trims from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jinja2

from harness.api import Message
from harness.errors import UserError

ANOTHER = "choose another chat template (`chat_template:` of the model), or leave such examples out"

Render = Callable[[Sequence[Message], bool], str]
"""Messages, and whether a generation prompt follows them, to text."""


@dataclass(frozen=True)
class Layout:
    """A rendered conversation and the [start, end) characters of each message's content in it."""

    text: str
    spans: tuple[tuple[int, int], ...]


class Layouts:
    """Lays out conversations under one chat template; remembers the template's text for each sequence of roles."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._gaps: dict[tuple[tuple[str, ...], bool], tuple[str, ...]] = {}

    def render(self, messages: Sequence[Message], *, generate: bool = False) -> str:
        """The conversation as text. Raises UserError where the template itself refuses it."""
        try:
            return self._render(messages, generate)
        except (jinja2.TemplateError, TypeError) as error:
            roles = ", ".join(message.role for message in messages)
            raise UserError(f"the chat template refuses the turns {roles}: {error}", ANOTHER) from None

    def lay_out(self, messages: Sequence[Message], *, generate: bool = False) -> Layout:
        """The rendered conversation with its contents' places.

        Raises UserError where the template drops, repeats, reorders or rewrites a turn.
        """
        text = self.render(messages, generate=generate)
        gaps = self._template_text(tuple(message.role for message in messages), generate)
        spans = _place(text, gaps, [message.content for message in messages])
        if isinstance(spans, int):
            raise _offence("rewrites", messages, spans)
        return Layout(text, tuple(spans))

    def response_start(self, messages: Sequence[Message], turn: int, layout: Layout) -> int:
        """Where generation of the assistant's turn would start: the end of the rendered generation prompt.

        Raises UserError where the prompt used for generation is not how the conversation goes.
        """
        prompt = self.render(messages[:turn], generate=True)
        content = layout.spans[turn][0]
        if not layout.text.startswith(prompt) or len(prompt) > content:
            raise UserError(
                f"the chat template's generation prompt ends in {prompt[-24:]!r}, "
                f"but turn {turn + 1} is rendered after {layout.text[:content][-24:]!r}",
                "a model so trained would be prompted with what it has not seen; choose another chat template",
            )
        header = layout.text[len(prompt) : content]
        if header.strip() and self.render(messages[:turn]) == prompt:
            raise UserError(
                f"the chat template has no generation prompt, though {header!r} precedes an assistant's content",
                "add `{% if add_generation_prompt %}` to the template, or choose another",
            )
        return len(prompt)

    def _template_text(self, roles: tuple[str, ...], generate: bool) -> tuple[str, ...]:
        """The template's own text before, between and after the contents of these roles: one piece more than turns."""
        if (roles, generate) not in self._gaps:
            self._gaps[roles, generate] = tuple(self._split_at_sentinels(roles, generate))
        return self._gaps[roles, generate]

    def _split_at_sentinels(self, roles: tuple[str, ...], generate: bool) -> Iterator[str]:
        sentinels = [f"Zq{turn}xKv{turn}Zq" for turn in range(len(roles))]
        messages = [Message(role, content) for role, content in zip(roles, sentinels, strict=True)]  # type: ignore[arg-type]
        skeleton = self.render(messages, generate=generate)
        end = 0
        for turn, sentinel in enumerate(sentinels):
            count = skeleton.count(sentinel)
            if count == 0:
                raise _offence("rewrites" if sentinel.lower() in skeleton.lower() else "drops", messages, turn)
            if count > 1:
                raise _offence("repeats", messages, turn)
            start = skeleton.index(sentinel)
            if start < end:
                raise _offence("reorders", messages, turn)
            yield skeleton[end:start]
            end = start + len(sentinel)
        yield skeleton[end:]


def _offence(verb: str, messages: Sequence[Message], turn: int) -> UserError:
    role = messages[turn].role
    return UserError(f"the chat template {verb} the {role} turn (turn {turn + 1} of {len(messages)})", ANOTHER)


def _place(text: str, gaps: Sequence[str], contents: Sequence[str]) -> list[tuple[int, int]] | int:
    """The contents' spans in `text`, which must be the gaps around them; else the first turn that does not fit.

    A content may have lost white space at its ends. Every way to trim is followed at once: `reached` maps a position
    after the turn to the spans that led there, those that keep more of the content first.
    """
    reached: dict[int, list[tuple[int, int]]] = {0: []}
    for turn, content in enumerate(contents):
        ahead: dict[int, list[tuple[int, int]]] = {}
        for position, spans in reached.items():
            if not text.startswith(gaps[turn], position):
                continue
            start = position + len(gaps[turn])
            for kept in _trimmed(content):
                if text.startswith(kept, start):
                    ahead.setdefault(start + len(kept), [*spans, (start, start + len(kept))])
        if not ahead:
            return turn
        reached = ahead
    for position, spans in reached.items():
        if text[position:] == gaps[-1]:
            return spans
    return len(contents) - 1


def _trimmed(content: str) -> Sequence[str]:
    """The content and what trimming white space or line ends from it leaves, longest first, without repetition."""
    bare = content.strip()
    if len(bare) == len(content):
        return (content,)
    forms = (content.rstrip("\n"), content.lstrip("\n"), content.strip("\n"), content.rstrip(), content.lstrip(), bare)
    return sorted({content, *forms}, key=lambda form: (-len(form), form))
