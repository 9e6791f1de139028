"""A model's answers beside the data that they answer: what rejection sampling and preference pairs are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from harness.api.data import Example, Message
from harness.errors import UserError

ANSWERED = "_answered"
"""In the meta of an answer: the id of the example that was answered. No column of the data may be called so."""

_NUMBER = re.compile(r"[$€£]?\s*(-?(?:\d[\d,]*)?\.?\d+)\s*[.%]?")


@dataclass
class Question:
    """One prompt, with what the data and the model say to it."""

    demonstrations: list[Example] = field(default_factory=list)
    """Of the data; several where it holds the prompt more than once."""
    answers: list[Example] = field(default_factory=list)
    """The model's, in the order of their samples."""


def questions(examples: Sequence[Example]) -> list[Question]:
    """Examples and the answers to them, prompt by prompt in the order of the data.

    They are what `Curated((data, Answered(data, ...)), ...)` hands to its curation. Raises UserError for answers to
    prompts that are not among the examples.
    """
    found: dict[tuple[Message, ...], Question] = {}
    for example in examples:
        if ANSWERED not in example.meta:
            found.setdefault(example.messages[:-1], Question()).demonstrations.append(example)
    for example in examples:
        if ANSWERED in example.meta:
            if example.messages[:-1] not in found:
                raise UserError(
                    f"{example.id} answers {example.meta[ANSWERED]!r}, which is not among the data",
                    "curate the data together with its answers: Curated((data, Answered(data)), ...)",
                )
            found[example.messages[:-1]].answers.append(example)
    return list(found.values())


def final_answer(text: str, pattern: str) -> str | None:
    """What the first group of the pattern's last match holds; None without one.

    Numbers come in one spelling, `1080.5` for `$1,080.50`, and texts without regard to case and the space around them.
    """
    matches = [match[1] for match in re.finditer(pattern, text)]
    if not matches:
        return None
    answer = matches[-1].strip()
    number = _NUMBER.fullmatch(answer)
    if number is None:
        return answer.casefold()
    plain = format(Decimal(number[1].replace(",", "")).normalize(), "f")
    return "0" if plain == "-0" else plain
