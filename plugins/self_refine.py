"""Self-Refine instruction tuning (Ranaldi and Freitas, 2024, arXiv:2405.00402).

The arm's own stages teach the model to reason, by default all data in one. The model then answers the same prompts
several times, and preference pairs are made of its answers: chosen is one that reasons its way to the ground truth,
rejected one that does not get there. A last stage learns from the pairs by direct preference optimisation.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.api import (
    Answered,
    Arm,
    Curated,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    Mixture,
    Options,
    Plugin,
    Question,
    Stage,
    UserError,
    dpo,
    drawn,
    experts,
    final_answer,
    hookimpl,
    in_role,
    questions,
)

REFINE = "refine"


def _with_a_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if groups == 0:
        raise ValueError(f"{pattern!r} has no group that holds the answer, as in '#### (.+)'")
    return pattern


class SelfRefineOptions(Options):
    """How the model is sampled, what makes a pair, and how the last stage learns from them."""

    samples: int = Field(8, ge=1)
    """Answers to each prompt."""
    temperature: float = Field(0.7, gt=0)
    """At which they are drawn."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass that they are drawn from."""
    max_new_tokens: int = Field(512, ge=1)
    """Longer answers are left out."""
    answer: Annotated[str, AfterValidator(_with_a_group)] = r"####\s*(.+)"
    """Regular expression whose first group, at its last match, is the final answer."""
    pairs: int = Field(1, ge=1)
    """Pairs of each prompt, at most; no answer is in two."""
    max_pairs: int | None = Field(None, ge=1)
    """Pairs in all, at most."""
    demonstrations: bool = False
    """Where no answer is right, prefer the answer of the data."""
    beta: float = Field(0.1, gt=0)
    """Of DPO: the larger, the nearer the model stays to where the last stage starts."""
    lr: float | None = Field(None, gt=0)
    """Learning rate of the last stage; none: the recipe's."""
    epochs: float | None = Field(None, gt=0)
    """Epochs of the last stage; none: the recipe's."""
    role: str = ""
    """Only data of this role are answered; empty: all but pretraining text."""


PLUGIN = Plugin(
    name="self_refine",
    version="1.0",
    summary="The trained model answers its prompts; DPO on pairs of its answers that reach the truth and that do not.",
    paper="arXiv:2405.00402",
    options=SelfRefineOptions,
)


@dataclass(frozen=True)
class Preferences(Curation):
    """Pairs of answers to one prompt, of which one reaches the ground truth by reasoning and the other does not."""

    answer: str
    pairs: int
    max_pairs: int | None
    demonstrations: bool

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """The pairs, prompt by prompt; prompts whose ground truth the pattern does not find are left out."""
        found, untold, right, wrong = list[Example](), 0, 0, 0
        for question in questions(examples):
            truths = {final_answer(_text(example), self.answer) for example in question.demonstrations} - {None}
            if not truths:
                untold += 1
                continue
            chosen, rejected = self._sorted(question, truths)
            right, wrong = right + len(chosen), wrong + len(rejected)
            if self.demonstrations and not chosen:
                chosen = question.demonstrations[:1]
            sides = list(zip(chosen, rejected, strict=False))[: self.pairs]
            found += [replace(good, rejected=_text(bad)) for good, bad in sides]
        for name, count in {"no_ground_truth": untold, "right": right, "wrong": wrong, "pairs": len(found)}.items():
            tools.tell(name, count)
        if not found:
            raise UserError(
                f"no prompt has both a right answer ({right} in all) and a wrong one ({wrong}), so there is no pair",
                "--set self_refine.samples or temperature higher, .demonstrations=true, or another .answer",
            )
        return {"all": drawn(found, self.max_pairs, tools.seed, lambda pair: pair.id)}

    def _sorted(self, question: Question, truths: set[str | None]) -> tuple[list[Example], list[Example]]:
        """Answers of different texts that reach the truth, not by naming it alone; and those that do not reach it."""
        answers: dict[str, Example] = {}
        for example in question.answers:
            answers.setdefault(_text(example), example)
        right = [example for example in answers.values() if final_answer(_text(example), self.answer) in truths]
        reasoned = [example for example in right if re.split(self.answer, _text(example), maxsplit=1)[0].strip()]
        return reasoned, [example for example in answers.values() if example not in right]


def _text(example: Example) -> str:
    return example.messages[-1].content


@hookimpl(wrapper=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The arm's stages, then one on preference pairs of the last one's answers."""
    options = arm.options(SelfRefineOptions)
    stages = yield
    asked = in_role(data, options.role)
    if len(apart := experts(stages)) > 1:
        raise UserError(
            f"self_refine goes on from one model, and the arm's stages end with {len(apart)}: {', '.join(apart)}",
            "leave it away, or the plug-in that trains experts",
        )

    def answered(name: str) -> Answered:
        return Answered(
            name,
            model=stages[-1].name,
            samples=options.samples,
            temperature=options.temperature,
            top_p=options.top_p,
            max_new_tokens=options.max_new_tokens,
        )

    own: dict[str, Any] = {"lr": options.lr, "epochs": options.epochs}
    pairs = Curated(
        tuple(part for name in asked for part in (name, answered(name))),
        Preferences(options.answer, options.pairs, options.max_pairs, options.demonstrations),
        name="preferences",
    )
    return [
        *stages,
        Stage(
            REFINE,
            Mixture.of(pairs),
            objective="dpo",
            loss=dpo(options.beta),
            train={name: value for name, value in own.items() if value is not None},
        ),
    ]
