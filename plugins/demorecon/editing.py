"""What DeMoRecon asks of the model that edits, in words of our own, and what is read of its replies."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.api import Example, JudgeReply

ANALYST = "You edit instructions that are given to assistants. Reply with one JSON object and nothing else."
DECOMPOSE = """\
Take the instruction below apart. List the background facts that it states or assumes, and the separate demands that
it makes, each as one short imperative sentence that can be understood by itself. Leave nothing out and add nothing.

Instruction:
{instruction}

Reply as {{"facts": ["..."], "sub_instructions": ["..."]}}."""
CHANGE = """\
An instruction makes these demands, given the facts.

Facts:
{facts}

Demands:
{demands}

Change demand {number}, and only that one: ask for something else of the same kind, about equally hard, that fits the
facts and the other demands, so that a good answer to the old demand would no longer satisfy the new one.

Reply as {{"sub_instruction": "..."}}."""
RECONSTRUCT = """\
Write one instruction that states these facts and makes exactly these demands, in the tone of the example. Make it read
as if one person had written it at once.

Facts:
{facts}

Demands:
{demands}

Example of the tone:
{instruction}

Reply as {{"instruction": "..."}}."""
REVISE = """\
The response below was written for the first instruction. Rewrite it so that it satisfies the second one, and change
nothing that does not have to change. Reply with the response alone.

First instruction:
{old}

Response:
{response}

Second instruction:
{new}"""


def _object(reply: JudgeReply) -> Mapping[str, Any]:
    """The JSON object in a reply, whatever stands around it; an empty one where there is none."""
    start, end = reply.text.find("{"), reply.text.rfind("}")
    try:
        found = json.loads(reply.text[start : end + 1])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(value: object) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _sentences(value: object) -> tuple[str, ...] | None:
    found = [_sentence(one) for one in value] if isinstance(value, list) else [None]
    return None if None in found else tuple(one for one in found if one is not None)


@dataclass(frozen=True)
class Parts:
    """An instruction, taken apart."""

    facts: tuple[str, ...]
    demands: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """A seed on its way to a variant."""

    seed: Example
    parts: Parts
    changed: int
    """Which demand."""
    demand: str = ""
    """What it became."""
    instruction: str = ""
    response: str = ""

    @property
    def old(self) -> str:
        """The seed's instruction."""
        return self.seed.messages[-2].content

    @property
    def demands(self) -> tuple[str, ...]:
        """Of the variant."""
        before, after = self.parts.demands[: self.changed], self.parts.demands[self.changed + 1 :]
        return (*before, self.demand or self.parts.demands[self.changed], *after)

    @property
    def listed(self) -> dict[str, str]:
        """Facts and demands as lines for a prompt."""
        facts = "\n".join(f"- {fact}" for fact in self.parts.facts) or "(none)"
        demands = "\n".join(f"{number}. {demand}" for number, demand in enumerate(self.demands, 1))
        return {"facts": facts, "demands": demands}


def taken_apart(reply: JudgeReply) -> Parts | None:
    """Facts, of which there may be none, and at least one demand."""
    found = _object(reply)
    facts, demands = _sentences(found.get("facts")), _sentences(found.get("sub_instructions"))
    return Parts(facts, demands) if facts is not None and demands else None


def changed(variant: Variant) -> Callable[[JudgeReply], str | None]:
    """Reads a demand that is not the old one."""

    def parse(reply: JudgeReply) -> str | None:
        demand = _sentence(_object(reply).get("sub_instruction"))
        return None if demand is None or demand.casefold() == variant.demands[variant.changed].casefold() else demand

    return parse


def reconstructed(variant: Variant) -> Callable[[JudgeReply], str | None]:
    """Reads an instruction that is not the seed's."""

    def parse(reply: JudgeReply) -> str | None:
        found = _object(reply).get("instruction")
        instruction = found.strip() if isinstance(found, str) else ""
        return instruction if instruction and instruction != variant.old.strip() else None

    return parse


def responded(reply: JudgeReply) -> str | None:
    """Reads a response that was not cut off."""
    return reply.text.strip() or None if reply.finish == "stop" else None
