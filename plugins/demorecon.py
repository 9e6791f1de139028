"""Instruction variants by decomposing, modifying and reconstructing (DeMoRecon, Yang et al., 2024, arXiv:2406.11301).

A language model behind the recipe's judge endpoint takes an instruction apart into background facts and
sub-instructions, changes one sub-instruction, and puts the whole together again; the new instruction then gets a
response of its own, written anew or revised from the old one. Variants so differ from their seed in one point, which
is what teaches a model to follow instructions to the letter. Every reply is in the store before it is used.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.api import (
    Arm,
    Curated,
    Curation,
    CurationTools,
    Data,
    DataInfo,
    Example,
    JudgePrompt,
    JudgeReply,
    Message,
    Options,
    Plugin,
    Stage,
    drawn,
    hookimpl,
    in_role,
)

EXCHANGE = 2
"""Turns of a seed, but for a system prompt: one question, one answer."""


class DemoreconOptions(Options):
    """Which instructions get variants, how many, and where their responses come from."""

    seeds: int | None = Field(None, ge=1)
    """Instructions that variants are made of, drawn by the run's seed; none: all. The paper has 1,773."""
    variants: int = Field(1, ge=1)
    """Variants of each, at most: every one changes another sub-instruction."""
    responses: Literal["generate", "revise"] = "generate"
    """Write the variant's response anew, or revise the seed's."""
    keep: bool = True
    """Train on the data itself too, not on its variants alone."""
    max_tokens: int = Field(1024, ge=16)
    """Of each reply."""
    role: str = ""
    """Only data of this role get variants; empty: all but pretraining text."""


PLUGIN = Plugin(
    name="demorecon",
    version="1.0",
    summary="Instruction variants: taken apart, changed in one point and put together again by a model at an endpoint.",
    paper="arXiv:2406.11301",
    options=DemoreconOptions,
)

# --- what is asked -------------------------------------------------------------------------------------------------

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


# --- the curation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variants(Curation):
    """Decompose, modify, reconstruct, respond: each step is asked for all instructions at once."""

    seeds: int | None
    variants: int
    responses: Literal["generate", "revise"]
    keep: bool
    max_tokens: int
    needs: ClassVar[frozenset[Literal["model", "judge"]]] = frozenset({"judge"})

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """The data where it is kept, then the variants of its single exchanges; what came of each reply is counted."""
        outcomes = Counter[str]()
        usable = [example for example in examples if _single(example)]
        chosen = drawn(usable, self.seeds, tools.seed, lambda example: example.id)

        def ask(step: str, prompts: Sequence[JudgePrompt]) -> list[Any]:
            verdicts = tools.ask(prompts)
            outcomes.update(f"{step}: {verdict.outcome}" for verdict in verdicts)
            return [verdict.value if verdict.outcome == "ok" else None for verdict in verdicts]

        parts = ask("decompose", [self._ask(DECOMPOSE.format(instruction=_asked(one)), taken_apart) for one in chosen])
        ways = [
            Variant(seed, found, number)
            for seed, found in zip(chosen, parts, strict=True)
            if found is not None
            for number in self._changes(seed, found, tools.seed)
        ]
        ways = self._step(
            ask,
            "change",
            ways,
            "demand",
            lambda way: self._ask(CHANGE.format(**way.listed, number=way.changed + 1), changed(way)),
        )
        ways = self._step(
            ask,
            "reconstruct",
            ways,
            "instruction",
            lambda way: self._ask(RECONSTRUCT.format(**way.listed, instruction=way.old), reconstructed(way)),
        )
        ways = self._step(ask, "respond", ways, "response", self._respond)
        tools.tell("seeds", len(chosen))
        tools.tell("variants", len(ways))
        tools.tell("replies", dict(sorted(outcomes.items())))
        return {"all": [*(examples if self.keep else ()), *map(_example, ways)]}

    def _step(
        self,
        ask: Callable[[str, Sequence[JudgePrompt]], list[Any]],
        name: str,
        ways: Sequence[Variant],
        made: str,
        prompt: Callable[[Variant], JudgePrompt],
    ) -> list[Variant]:
        """The variants that a step could be done for, with what it made of them."""
        found = ask(name, [prompt(way) for way in ways])
        return [replace(way, **{made: value}) for way, value in zip(ways, found, strict=True) if value is not None]

    def _changes(self, seed: Example, parts: Parts, run: int) -> list[int]:
        """Which demands to change, one for each variant."""
        return drawn(range(len(parts.demands)), self.variants, run, lambda number: f"{seed.id}/{number}")

    def _ask(self, text: str, parse: Callable[[JudgeReply], Any]) -> JudgePrompt:
        return JudgePrompt((Message("system", ANALYST), Message("user", text)), parse, self.max_tokens)

    def _respond(self, way: Variant) -> JudgePrompt:
        """The instruction itself, after the seed's system prompt; or what is to be revised."""
        if self.responses == "generate":
            return JudgePrompt((*way.seed.messages[:-2], Message("user", way.instruction)), responded, self.max_tokens)
        text = REVISE.format(old=way.old, response=way.seed.messages[-1].content, new=way.instruction)
        return JudgePrompt((Message("user", text),), responded, self.max_tokens)


def _single(example: Example) -> bool:
    roles = [message.role for message in example.messages if message.role != "system"]
    return len(roles) == EXCHANGE


def _asked(example: Example) -> str:
    return example.messages[-2].content


def _example(way: Variant) -> Example:
    turns = (*way.seed.messages[:-2], Message("user", way.instruction), Message("assistant", way.response))
    meta = {"variant_of": way.seed.id, "old_demand": way.parts.demands[way.changed], "new_demand": way.demand}
    return Example(f"{way.seed.id}~{way.changed}", turns, {**way.seed.meta, **meta})


@hookimpl(wrapper=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The arm's stages, on data with their variants."""
    options = arm.options(DemoreconOptions)
    stages = yield
    seeded = in_role(data, options.role)
    curation = Variants(options.seeds, options.variants, options.responses, options.keep, options.max_tokens)

    def varied(name: str) -> Data:
        return Curated(name, curation, name=f"{name} varied") if name in seeded else name

    return [replace(stage, mixture=stage.mixture.on_each(varied)) for stage in stages]
