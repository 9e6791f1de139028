"""Instruction variants by decomposing, modifying and reconstructing (DeMoRecon, Yang et al., 2024, arXiv:2406.11301).

A language model behind the recipe's judge endpoint takes an instruction apart into background facts and
sub-instructions, changes one sub-instruction, and puts the whole together again; the new instruction then gets a
response of its own, written anew or revised from the old one. Variants so differ from their seed in one point, which
is what teaches a model to follow instructions to the letter. Every reply is in the store before it is used.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.api import (
    Arm,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    JudgePrompt,
    JudgeReply,
    Message,
    Options,
    Plugin,
    Stage,
    UserError,
    drawn,
    hookimpl,
    select,
)

from .editing import (
    ANALYST,
    CHANGE,
    DECOMPOSE,
    RECONSTRUCT,
    REVISE,
    Parts,
    Variant,
    changed,
    reconstructed,
    responded,
    taken_apart,
)


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
    version="1.1",
    summary="Instruction variants: taken apart, changed in one point and put together again by a model at an endpoint.",
    paper="arXiv:2406.11301",
    options=DemoreconOptions,
)

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
        """The data where it is kept, then the variants of its single exchanges; what came of each reply is counted.

        Raises UserError where no variant came of any.
        """
        outcomes = Counter[str]()

        def ask(step: str, prompts: Sequence[JudgePrompt]) -> list[Any]:
            verdicts = tools.ask(prompts)
            outcomes.update(f"{step}: {verdict.outcome}" for verdict in verdicts)
            return [verdict.value if verdict.outcome == "ok" else None for verdict in verdicts]

        seeds = drawn([one for one in examples if _single(one)], self.seeds, tools.seed, lambda one: one.id)
        parts = ask("decompose", [self._decompose(seed) for seed in seeds])
        ways = [
            Variant(seed, found, number)
            for seed, found in zip(seeds, parts, strict=True)
            if found is not None
            for number in self._changes(seed, found, tools.seed)
        ]
        steps = (
            ("change", "demand", self._change),
            ("reconstruct", "instruction", self._reconstruct),
            ("respond", "response", self._respond),
        )
        for step, made, prompt in steps:
            found = ask(step, [prompt(way) for way in ways])
            ways = [replace(way, **{made: value}) for way, value in zip(ways, found, strict=True) if value is not None]
        if not ways:
            raise UserError(
                f"no variant came of {len(seeds)} instructions: {dict(sorted(outcomes.items()))}",
                "give single exchanges to a model that replies as it is asked: judge.model=NAME, demorecon.role=ROLE",
            )
        tools.tell("seeds", len(seeds))
        tools.tell("variants", len(ways))
        tools.tell("replies", dict(sorted(outcomes.items())))
        return {"all": [*(examples if self.keep else ()), *map(_example, ways)]}

    def _changes(self, seed: Example, parts: Parts, run: int) -> list[int]:
        """Which demands to change, one for each variant."""
        return drawn(range(len(parts.demands)), self.variants, run, lambda number: f"{seed.id}/{number}")

    def _decompose(self, seed: Example) -> JudgePrompt:
        return self._edit(DECOMPOSE.format(instruction=seed.messages[-2].content), taken_apart)

    def _change(self, way: Variant) -> JudgePrompt:
        return self._edit(CHANGE.format(**way.listed, number=way.changed + 1), changed(way))

    def _reconstruct(self, way: Variant) -> JudgePrompt:
        return self._edit(RECONSTRUCT.format(**way.listed, instruction=way.old), reconstructed(way))

    def _respond(self, way: Variant) -> JudgePrompt:
        """The instruction itself, after the seed's system prompt; or what is to be revised."""
        if self.responses == "generate":
            return JudgePrompt((*way.seed.messages[:-2], Message("user", way.instruction)), responded, self.max_tokens)
        text = REVISE.format(old=way.old, response=way.seed.messages[-1].content, new=way.instruction)
        return JudgePrompt((Message("user", text),), responded, self.max_tokens)

    def _edit(self, text: str, parse: Callable[[JudgeReply], Any]) -> JudgePrompt:
        return JudgePrompt((Message("system", ANALYST), Message("user", text)), parse, self.max_tokens)


def _single(example: Example) -> bool:
    return [message.role for message in example.messages if message.role != "system"] == ["user", "assistant"]


def _example(way: Variant) -> Example:
    turns = (*way.seed.messages[:-2], Message("user", way.instruction), Message("assistant", way.response))
    meta = {"variant_of": way.seed.id, "old_demand": way.parts.demands[way.changed], "new_demand": way.demand}
    return Example(f"{way.seed.id}~{way.changed}", turns, {**way.seed.meta, **meta})


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The arm's stages, on data with their variants."""
    options = arm.options(DemoreconOptions)
    stages = yield
    curation = Variants(options.seeds, options.variants, options.responses, options.keep, options.max_tokens)
    return select(stages, data, options.role, curation)
