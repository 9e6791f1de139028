"""What selections go by: examples' cells, ratings and verdicts; and the stages on what is selected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from harness.api.benchmarks import JudgePrompt, JudgeReply
from harness.api.curation import Curation, CurationTools
from harness.api.data import Curated, DataInfo, Example, Message, in_role
from harness.api.stages import Stage
from harness.errors import UserError

_NUMBER = re.compile(r"(?:(?:score|rating)\s*[:=]?\s*)?(\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?\.?", re.IGNORECASE)


def select(stages: Sequence[Stage], data: Mapping[str, DataInfo], role: str, curation: Curation) -> list[Stage]:
    """The stages, with what the curation leaves of each dataset in a role, wherever their mixtures name it.

    An empty role means all but text for pretraining. Raises UserError for a role that no dataset holds.
    """
    chosen = in_role(data, role)

    def left(name: str) -> Curated | str:
        return Curated(name, curation) if name in chosen else name

    return [replace(stage, mixture=stage.mixture.on_each(left)) for stage in stages]


def transcript(example: Example) -> str:
    """The conversation as a judge is shown it."""
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in example.messages)


def cells(examples: Sequence[Example], name: str) -> list[Any]:
    """What each example's row has in a column. Raises UserError naming the first whose row lacks it."""
    for example in examples:
        if name not in example.meta:
            there = ", ".join(sorted(example.meta)) or "none besides the conversation"
            raise UserError(f"example {example.id} has no column {name!r}; there are {there}", "name another column")
    return [example.meta[name] for example in examples]


def ask_about(
    examples: Sequence[Example], tools: CurationTools, question: str, parse: Callable[[JudgeReply], Any], lacking: str
) -> list[Any]:
    """What `parse` makes of the judge's reply about each example; None where there is no usable reply.

    How many those are is told as `lacking`, by what went wrong. Raises UserError where no reply is of any use.
    """
    system = Message("system", question)
    prompts = [JudgePrompt((system, Message("user", transcript(example))), parse) for example in examples]
    verdicts = tools.ask(prompts)
    lost = Counter(verdict.outcome for verdict in verdicts if verdict.outcome != "ok")
    if 0 < len(prompts) == lost.total():
        raise UserError(
            f"the judge was asked about {len(prompts):,} examples, and there is {lacking} for any: "
            f"{', '.join(f'{n:,} {outcome}' for outcome, n in sorted(lost.items()))}",
            "take a judge that replies as it is asked, or mend what serves this one",
        )
    tools.tell(lacking, dict(lost))
    return [verdict.value if verdict.outcome == "ok" else None for verdict in verdicts]


def ratings(
    examples: Sequence[Example], tools: CurationTools, *, what: str, column: str, question: str, scale: tuple[int, int]
) -> list[float | None]:
    """A number for each example: that of the column, or, where none is named, the judge's, on a scale from low to high.

    None where the judge gave none; how many is told as `no <what>`. Raises UserError for a cell that holds no number.
    """
    if column:
        found = zip(examples, cells(examples, column), strict=True)
        return [_number_in(cell, f"example {example.id}, column {column!r}") for example, cell in found]
    low, high = scale
    form = f"Reply with one number from {low} to {high} and nothing else; fractions such as {low}.5 are fine."

    def parse(reply: JudgeReply) -> float | None:
        found = _NUMBER.fullmatch(reply.text.strip())
        if found is None or (found[2] is not None and float(found[2]) != high):  # 4/10 is on another scale
            return None
        return float(found[1]) if low <= float(found[1]) <= high else None

    return ask_about(examples, tools, f"{question} {form}", parse, f"no {what}")


def _number_in(cell: object, where: str) -> float:
    try:
        number = float(cell) if isinstance(cell, int | float | str) and not isinstance(cell, bool) else float("nan")
    except (ValueError, OverflowError):  # no number, or a whole one with hundreds of digits
        number = float("nan")
    if not isfinite(number):
        raise UserError(f"{where}: {str(cell)[:40]!r} is no number", "name a column of numbers")
    return number
