"""What is asked of a model whose tokenizer only a server has: in words, as the benchmark wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.api import Ask
from harness.errors import UserError
from harness.evaluate.conversations import Template
from harness.evaluate.prompts import Encoded, Ids, Prompts


class Unencoded(Prompts):
    """Encodes nothing: conversations go through the server's own chat template, texts through its tokenizer.

    `who` asks; `unable` says why the engine gives no log-likelihoods, where it does not. Raises UserError, naming who
    asks, for what a server cannot be asked.
    """

    def __init__(self, who: str, unable: Callable[[], str | None], *, chat: bool = False) -> None:
        self._who, self._unable = who, unable
        self.chat = chat
        self._templates: dict[str, Template] = {}

    @property
    def end_ids(self) -> Ids:
        """None: the server knows what ends a turn."""
        return ()

    def of(self, ask: Ask) -> Encoded:
        """What a plug-in's benchmark asks."""
        if isinstance(ask.prompt, str):
            return Encoded(())
        if ask.template is None:
            self._check(ask.prompt[-1].role)
            return Encoded(())
        template = self._templates.setdefault(ask.template, Template(ask.template))
        rendered = template.render(ask.prompt)
        if rendered.end_ids:
            raise UserError(
                f"{self._who} asks in {ask.template}, which ends answers by tokens, and a server is told texts",
                "let it use the model's own chat template",
            )
        return Encoded((), rendered.stop, sent=rendered.text)

    def prompts(self, contexts: Sequence[str]) -> list[Ids]:
        """No ids: contexts are sent as lm-eval hands them on."""
        if self.chat:
            for context in contexts:
                self._check(self.said(context)[-1]["role"])
        return [()] * len(contexts)

    def pairs(self, asked: Sequence[tuple[str, str]]) -> list[tuple[Ids, Ids]]:
        """No ids; refused where the server does not score what it is given."""
        if asked and self.chat:
            raise UserError(
                f"{self._who} scores answers in a conversation, and a server's chat interface scores none",
                "ask in plain text, or evaluate the model's folder",
            )
        if asked and (reason := self._unable()):
            raise UserError(
                f"{self._who} compares the likelihoods of answers, and {reason}",
                "use a server that echoes prompts with log-probabilities, as vLLM does, or leave the benchmark out",
            )
        return [((), ())] * len(asked)

    def bos_count(self, ids: Ids) -> int:  # noqa: ARG002
        """Not known here."""
        return 0

    def _check(self, last: str) -> None:
        """Refuse a conversation that ends with the beginning of the answer."""
        if last == "assistant":
            raise UserError(
                f"{self._who} begins the answer itself, and a server's chat interface begins another",
                "evaluate the model's folder",
            )
