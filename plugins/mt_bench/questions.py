"""The asking half: two turns, the second upon the model's own first reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.api import Ask, Asking, Files, Hub, Item, Message, Questions, Read, Reply

from .fastchat import QUESTIONS

TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1,
    "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0,
}  # fmt: skip
OTHER_TEMPERATURE = 0.7
"""Of a category that has none of its own."""


@dataclass(frozen=True)
class TwoTurns(Questions):
    """The 80 questions: a first turn, and a second one that follows upon the model's reply."""

    template: str | None = None
    max_new_tokens: int = 1024

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """The questions."""
        return (QUESTIONS,)

    def items(self, read: Read) -> Sequence[Item]:
        """One for each question, by its number."""
        return [Item(str(row["question_id"]), row) for row in read(QUESTIONS)]

    def ask(self, item: Item) -> Asking:
        """Two rounds of one answer each, at the temperature of the question or of its category."""
        category = TEMPERATURES.get(item.content["category"], OTHER_TEMPERATURE)
        temperature = item.content.get("required_temperature", category)
        talk: tuple[Message, ...] = ()
        for turn in item.content["turns"]:
            talk = (*talk, Message("user", turn))
            (reply,) = yield [Ask(talk, self.max_new_tokens, temperature, template=self.template)]
            talk = (*talk, Message("assistant", answer(reply)))


def answer(reply: Reply) -> str:
    """An answer as FastChat passes it on."""
    return reply.text.strip()
