"""MT-Bench: 80 questions of two turns, each answer rated by a judge (Zheng et al., 2023, arXiv:2306.05685).

Questions, references and the judge's prompts are FastChat's (lm-sys/FastChat, Apache-2.0); no hub dataset has them all.
The mirror holds its `question.jsonl`, `reference_answer/gpt-4.jsonl` and `judge_prompts.jsonl`.
"""

from __future__ import annotations

import ast
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.api import (
    Arm,
    Ask,
    Asking,
    Benchmark,
    Evaluator,
    Files,
    Hub,
    Item,
    JudgePrompt,
    JudgeReply,
    Message,
    Options,
    Plugin,
    Questions,
    Read,
    Reply,
    Response,
    Scorer,
    Scores,
    Scoring,
    UserError,
    Verdict,
    hookimpl,
    share_alike,
)

QUESTIONS = Hub("lmsys/mt_bench", files=("question.jsonl",))
REFERENCES = Hub("lmsys/mt_bench", files=("reference_answer_gpt-4.jsonl",))
PROMPTS = Hub("lmsys/mt_bench", files=("judge_prompts.jsonl",))

TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1,
    "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0,
}  # fmt: skip
OTHER_TEMPERATURE = 0.7
"""Of a category that has none of its own."""
REFERENCED = ("math", "reasoning", "coding")
"""Categories whose answers are judged beside a reference answer."""
REPORTED_WRONG = (104, 105, 109, 111, 113, 114, 120, 122, 124, 125, 126, 128, 130)
"""Questions whose published reference answer has been reported to be wrong."""
HIGHEST = 10
TURNS = (1, 2)
DROPPED = -1.0
"""FastChat's rating of a judgment in which it finds none; it is left out of the mean."""


class MTBenchOptions(Options):
    """How models are asked, and how often their answers are judged."""

    template: str | None = None
    """A FastChat conversation template, such as vicuna_v1.1; without one, the model's own chat template."""
    repeats: int = Field(1, ge=1, le=10)
    """Judgments of each answer, which are averaged."""
    references: str | None = None
    """A file of corrected reference answers, in the form of FastChat's, for mt_bench_corrected."""


PLUGIN = Plugin(
    name="mt_bench",
    version="1.0",
    summary="80 questions of two turns, rated by a judge",
    paper="https://arxiv.org/abs/2306.05685",
    options=MTBenchOptions,
)


# --- asking --------------------------------------------------------------------------------------------------------


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
            talk = (*talk, Message("assistant", _text(reply)))


def _text(reply: Reply) -> str:
    """An answer as FastChat passes it on."""
    return reply.text.strip()


# --- reading judgments ---------------------------------------------------------------------------------------------

_IN_TWO, _IN_ONE = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
_NUMBER = r"(\d+(?:\.\d*)?)(?:\s*/\s*10)?"
_BRACKETED = re.compile(rf"\[\[\s*{_NUMBER}\s*\]\]")
_IN_WORDS = re.compile(
    rf"\b(?:rating|score)(?:\s*\([^()]*\))?(?:\s+(?:is|of))?\s*[:=]?\s*\[?{_NUMBER}"
    r"(?![\w%]|\s*(?:[-–—/]|to\b|or\b|out\s+of\b(?!\s+(?:10|ten)\b)))",
    re.IGNORECASE,
)
_PREFERRED = re.compile(r"\[\[([ABC])\]\]")


def official_rating(reply: JudgeReply) -> float:
    """FastChat's: the first `[[number]]`, else the first `[number]`, else `DROPPED`; no range is checked.

    FastChat reads the number as a Python literal. What that dies of, such as `[[08]]`, is `DROPPED` as well.
    """
    found = _IN_TWO.search(reply.text) or _IN_ONE.search(reply.text)
    try:
        rating = float(ast.literal_eval(found[1])) if found else DROPPED
    except (SyntaxError, ValueError, OverflowError):
        return DROPPED
    return rating if math.isfinite(rating) else DROPPED


def strict_rating(reply: JudgeReply) -> float | None:
    """The last rating in double brackets, else the one that words such as `Rating: 7` give; None where there is none.

    The last counts, since judges quote the form they are asked for before they follow it. A rating is of 1 to 10, may
    have `/10` behind it, and stands in a judgment that was not cut off. Several different ones in words are none.
    """
    text = re.sub(r"[*_`]", "", reply.text)
    found = {float(number) for number in _BRACKETED.findall(text)[-1:] or _IN_WORDS.findall(text)}
    if reply.finish == "length" or len(found) != 1:
        return None
    (rating,) = found
    return rating if 1 <= rating <= HIGHEST else None


def preference(reply: JudgeReply) -> str | None:
    """The last of `[[A]]`, `[[B]]` and `[[C]]`, a tie, in a judgment that was not cut off; None where there is none."""
    found = _PREFERRED.findall(reply.text)
    return found[-1] if found and reply.finish != "length" else None


# --- judging -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged(Scorer):
    """What ratings and preferences have in common: FastChat's prompts, each given `repeats` times."""

    repeats: int = 1
    needs: ClassVar[frozenset[Literal["judge", "sandbox", "opponent"]]] = frozenset({"judge"})

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """The judge's prompts and the references."""
        return (PROMPTS, REFERENCES)

    @property
    @abstractmethod
    def templates(self) -> tuple[str, str]:
        """Names of FastChat's prompts: without and with a reference."""

    def reference(self, item: Item, read: Read) -> Sequence[str] | None:
        """The reference answers to both turns; None where the judge gets none."""
        return _references(read(REFERENCES))[item.id] if item.content["category"] in REFERENCED else None

    def prompts(
        self, item: Item, answers: Mapping[str, Response], read: Read, parse: Callable[[JudgeReply], Any]
    ) -> Sequence[JudgePrompt]:
        """A prompt for each turn, `repeats` times over; `answers` by the names that FastChat's prompts give them."""
        reference = self.reference(item, read)
        fields = _fields("question", item.content["turns"]) | _fields("ref_answer", reference or ("", ""))
        for name, response in answers.items():
            fields |= _fields(name, [_text(reply) for reply in response.replies])
        templates = {row["name"]: row for row in read(PROMPTS)}
        general, with_reference = self.templates
        name = general if reference is None else with_reference
        talks = [
            (Message("system", row["system_prompt"]), Message("user", row["prompt_template"].format(**fields)))
            for row in (templates[name], templates[f"{name}-multi-turn"])
        ]
        # The number of the repetition makes each a judgment of its own, bought and stored by itself.
        return [JudgePrompt(talk, parse, revision=f"1.{n}") for n in range(1, self.repeats + 1) for talk in talks]

    def totals(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Mapping[str, float]:
        """How alike the model's answers are: a judge can be won over by one answer to all questions."""
        return {"answers_alike": share_alike([_text(reply) for response, _ in scored for reply in response.replies])}


@dataclass(frozen=True)
class Ratings(Judged):
    """Each answer is rated by itself, as a share of the highest rating.

    `official` leaves out what FastChat leaves out: a judgment without a rating, or one that could not be had. Under
    `strict` its question is missing as a whole, since a mean with more first turns than second ones is another mean.
    """

    protocol: Literal["official", "strict"] = "strict"
    references: Literal["published", "sound"] = "published"
    """`sound`: those that are reported wrong are left out, and their questions judged without."""
    corrected: str | None = None
    """A file of references that replace the published ones."""

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """The judge's prompts and the references, the user's too."""
        return (*super().data, *self._corrected)

    @property
    def templates(self) -> tuple[str, str]:
        """FastChat's for single answers."""
        return "single-v1", "single-math-v1"

    def reference(self, item: Item, read: Read) -> Sequence[str] | None:
        """The corrected one where there is one, else the published one where it counts as sound."""
        published = super().reference(item, read)
        if published is None:
            return None
        for file in self._corrected:
            if found := _references(read(file)).get(item.id):
                return found
        return None if self.references == "sound" and int(item.id) in REPORTED_WRONG else published

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """`rating`, and the same by turn and for the question's category."""
        official = self.protocol == "official"
        parse = official_rating if official else strict_rating
        received: Sequence[Verdict] = yield self.prompts(response.item, {"answer": response}, read, parse)
        verdicts = [
            replace(verdict, value=None, outcome="judge_unparsed") if verdict.value == DROPPED else verdict
            for verdict in received
        ]
        lost = [verdict.outcome for verdict in verdicts if verdict.outcome != "ok"]
        if lost and (not official or len(lost) == len(verdicts)):
            return Scores({}, missing=lost[0], judgments=tuple(verdicts))
        shares = {"rating": [None if verdict.value is None else verdict.value / HIGHEST for verdict in verdicts]}
        return _scores(response.item, shares, verdicts)

    @property
    def _corrected(self) -> tuple[Files, ...]:
        return (Files((self.corrected,)),) if self.corrected else ()


@dataclass(frozen=True)
class Preferences(Judged):
    """Each answer beside another model's, in both orders: what does not win in both is a tie."""

    needs: ClassVar[frozenset[Literal["judge", "sandbox", "opponent"]]] = frozenset({"judge", "opponent"})

    @property
    def templates(self) -> tuple[str, str]:
        """FastChat's for pairs."""
        return "pair-v2", "pair-math-v1"

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """`win_rate`, where a tie counts half; the shares won, tied and lost; and how often both orders agree."""
        if opponent is None:
            raise UserError("a pairwise comparison has nothing to compare with", "keep the baseline in the run")
        first = self.prompts(response.item, {"answer_a": response, "answer_b": opponent}, read, preference)
        second = self.prompts(response.item, {"answer_a": opponent, "answer_b": response}, read, preference)
        verdicts: Sequence[Verdict] = yield [*first, *second]
        lost = [verdict.outcome for verdict in verdicts if verdict.outcome != "ok"]
        if lost:
            return Scores({}, missing=lost[0], judgments=tuple(verdicts))
        won = [{"A": 1.0, "B": 0.0, "C": 0.5}[verdict.value] for verdict in verdicts]
        pairs = [(one, 1 - other) for one, other in zip(won[: len(first)], won[len(first) :], strict=True)]
        rates = [one if one == other else 0.5 for one, other in pairs]
        shares = {
            "win_rate": rates,
            "won": [float(rate == 1) for rate in rates],
            "tied": [float(rate == 0.5) for rate in rates],
            "lost": [float(rate == 0) for rate in rates],
            "consistent": [float(one == other) for one, other in pairs],
        }
        return _scores(response.item, shares, verdicts)


def _scores(item: Item, shares: Mapping[str, Sequence[float | None]], verdicts: Sequence[Verdict]) -> Scores:
    """Means of the shares by name, first turns and second turns in alternation; None is left out.

    The first is also given by turn and for the category. Each mean weighs as many judgments as it is made of, so that
    the benchmark's weighted mean is the mean over judgments.
    """
    main = next(iter(shares.values()))
    groups = {**shares, "turn_1": main[::2], "turn_2": main[1::2], item.content["category"]: main}
    counted = {name: found for name, group in groups.items() if (found := [one for one in group if one is not None])}
    return Scores(
        values={name: sum(group) / len(group) for name, group in counted.items()},
        weights={name: len(group) for name, group in counted.items()},
        extracted=[verdict.value for verdict in verdicts],
        judgments=tuple(verdicts),
    )


def _fields(name: str, turns: Sequence[str]) -> dict[str, str]:
    """The names under which a prompt may ask for two turns; where only the first is judged it has its bare name."""
    first, second = turns
    return {name: first, f"{name}_1": first, f"{name}_2": second}


def _references(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[str]]:
    return {str(row["question_id"]): row["choices"][0]["turns"] for row in rows}


# --- the benchmarks ------------------------------------------------------------------------------------------------


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """FastChat's ratings; strict ones; those without wrong references; and preferences over the baseline's answers."""
    options = arm.options(MTBenchOptions)
    questions, repeats, corrected = TwoTurns(options.template), options.repeats, options.references
    template, repeated = options.template and f"-{options.template}", repeats > 1 and f"-x{repeats}"
    version = f"1{template or ''}{repeated or ''}"

    def rated(name: str, protocol: str, scorer: Ratings, summary: str, *, optional: bool = False) -> Evaluator:
        task = Benchmark(questions, scorer, "rating")
        return Evaluator(name, f"{protocol}-{version}", task, summary=summary, out_of=HIGHEST, optional=optional)

    return [
        rated("mt_bench", "official", Ratings(repeats, "official"), "two turns, rated as FastChat does"),
        rated("mt_bench_strict", "strict", Ratings(repeats), "two turns, rated"),
        rated(
            "mt_bench_corrected",
            "corrected" if corrected else "sound-references",
            Ratings(repeats, references="sound", corrected=corrected),
            "two turns, rated beside corrected references"
            if corrected
            else "two turns, rated without wrong references",
            optional=True,
        ),
        Evaluator(
            "mt_bench_pairwise",
            f"pairwise-{version}",
            Benchmark(questions, Preferences(repeats), "win_rate"),
            summary="two turns, compared with the baseline's in both orders",
            optional=True,
        ),
    ]
