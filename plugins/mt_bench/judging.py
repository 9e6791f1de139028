"""The scoring half: FastChat's prompts, filled and judged, for ratings of single answers and for pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from harness.api import (
    Files,
    Hub,
    Item,
    JudgePrompt,
    JudgeReply,
    Message,
    Need,
    Read,
    Response,
    Rows,
    Scorer,
    Scores,
    Scoring,
    UserError,
    Verdict,
    share_alike,
)

from .fastchat import PROMPTS, REFERENCES
from .questions import answer
from .replies import DROPPED, HIGHEST, official_rating, preference, strict_rating

REFERENCED = ("math", "reasoning", "coding")
"""Categories whose answers are judged beside a reference answer."""
REPORTED_WRONG = (104, 105, 109, 111, 113, 114, 120, 122, 124, 125, 126, 128, 130)
"""Questions whose published reference answer has been reported to be wrong."""

TIE = 0.5
WORTH = {"A": 1.0, "B": 0.0, "C": TIE}
"""Of a verdict, to the answer that is shown first."""


@dataclass(frozen=True)
class Judged(Scorer):
    """What ratings and preferences have in common: FastChat's prompts, each given `repeats` times."""

    repeats: int = 1
    needs: ClassVar[frozenset[Need]] = frozenset({"judge"})

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
            fields |= _fields(name, _texts(response))
        templates = {row["name"]: row for row in read(PROMPTS)}
        general, with_reference = self.templates
        name = general if reference is None else with_reference
        talks = [
            (Message("system", row["system_prompt"]), Message("user", row["prompt_template"].format(**fields)))
            for row in (templates[name], templates[f"{name}-multi-turn"])
        ]
        return [JudgePrompt(talk, parse, repeat=repeat) for repeat in range(self.repeats) for talk in talks]

    def totals(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Mapping[str, float]:
        """How alike the model's answers are: a judge can be won over by one answer to all questions."""
        return {"answers_alike": share_alike([text for response, _ in scored for text in _texts(response)])}


@dataclass(frozen=True)
class Ratings(Judged):
    """Each answer is rated by itself, as a share of the highest rating.

    `official` leaves out what FastChat leaves out: a judgment without a rating, or one that could not be had. Under
    `strict` its question is missing as a whole, since a mean with more first turns than second ones is another mean.
    """

    protocol: Literal["official", "strict"] = "strict"
    sound: bool = False
    """Whether the references that are reported wrong are left out, and their questions judged without one."""
    corrected: Files | None = None
    """The user's references, which replace published ones: at least all those that are reported wrong."""

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """The judge's prompts and the references, the user's too."""
        return super().data if self.corrected is None else (*super().data, self.corrected)

    @property
    def templates(self) -> tuple[str, str]:
        """FastChat's for single answers."""
        return "single-v1", "single-math-v1"

    def reference(self, item: Item, read: Read) -> Sequence[str] | None:
        """Corrected where the user's file has it, else the published one unless it is left out."""
        published = super().reference(item, read)
        if published is None:
            return None
        if self.corrected:
            return _corrected(read(self.corrected)).get(item.id, published)
        return None if self.sound and int(item.id) in REPORTED_WRONG else published

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """`rating`, and the same by turn and for the question's category."""
        official = self.protocol == "official"
        parse = official_rating if official else strict_rating
        received: Sequence[Verdict] = yield self.prompts(response.item, {"answer": response}, read, parse)
        verdicts = [
            replace(verdict, value=None, outcome="judge_unparsed") if verdict.value == DROPPED else verdict
            for verdict in received
        ]
        rated = any(verdict.outcome == "ok" for verdict in verdicts)
        if (lost := _lost(verdicts)) and not (official and rated):
            return lost
        shares = {"rating": [None if verdict.value is None else verdict.value / HIGHEST for verdict in verdicts]}
        return _scores(response.item, shares, verdicts)


@dataclass(frozen=True)
class Preferences(Judged):
    """Each answer beside another model's, in both orders: what does not win in both is a tie."""

    needs: ClassVar[frozenset[Need]] = frozenset({"judge", "opponent"})

    @property
    def templates(self) -> tuple[str, str]:
        """FastChat's for pairs."""
        return "pair-v2", "pair-math-v1"

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """`win_rate`, where a tie counts half; the shares won, tied and lost; and how often both orders agree."""
        if opponent is None:
            raise UserError("a pairwise comparison has no answers to compare with", "keep the baseline in the run")
        if _texts(response) == _texts(opponent):  # one prompt for both orders, and so one reply: whatever it is, a tie
            return _scores(response.item, _compared([TIE] * 2 * self.repeats), ())
        prompts = [
            prompt
            for pair in ({"answer_a": response, "answer_b": opponent}, {"answer_a": opponent, "answer_b": response})
            for prompt in self.prompts(response.item, pair, read, preference)
        ]
        verdicts: Sequence[Verdict] = yield prompts
        if lost := _lost(verdicts):
            return lost
        half = len(verdicts) // 2
        pairs = [
            (WORTH[one.value], 1 - WORTH[other.value])
            for one, other in zip(verdicts[:half], verdicts[half:], strict=True)
        ]
        rates = [one if one == other else TIE for one, other in pairs]
        consistent = [float(one == other) for one, other in pairs]
        return _scores(response.item, {**_compared(rates), "consistent": consistent}, verdicts)


def _lost(verdicts: Sequence[Verdict]) -> Scores | None:
    """The scores of an item that lacks a judgment; None where all are there."""
    for verdict in verdicts:
        if verdict.outcome != "ok":
            return Scores({}, missing=verdict.outcome, judgments=tuple(verdicts))
    return None


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


def _compared(rates: Sequence[float]) -> dict[str, Sequence[float]]:
    """Of what comparisons are worth, the names and shares to report."""
    return {
        "win_rate": rates,
        "won": [float(rate > TIE) for rate in rates],
        "tied": [float(rate == TIE) for rate in rates],
        "lost": [float(rate < TIE) for rate in rates],
    }


def _texts(response: Response) -> list[str]:
    return [answer(reply) for reply in response.replies]


def _fields(name: str, turns: Sequence[str]) -> dict[str, str]:
    """The names under which a prompt may ask for two turns; where only the first is judged it has its bare name."""
    first, second = turns
    return {name: first, f"{name}_1": first, f"{name}_2": second}


def _references(rows: Rows) -> Mapping[str, Sequence[str]]:
    """Reference answers to both turns by question. Raises UserError for rows that hold none."""
    try:
        return {str(row["question_id"]): row["choices"][0]["turns"] for row in rows}
    except (KeyError, IndexError, TypeError):
        form = '{"question_id": 101, "choices": [{"turns": ["...", "..."]}]}'
        raise UserError("a row of MT-Bench's reference answers holds none", f"each row is like {form}") from None


def _corrected(rows: Rows) -> Mapping[str, Sequence[str]]:
    """The user's references. Raises UserError where one that is reported wrong stays as it is."""
    found = _references(rows)
    if lacking := [str(number) for number in REPORTED_WRONG if str(number) not in found]:
        raise UserError(
            f"the corrected references of MT-Bench lack those of {', '.join(lacking)}",
            "add them; the published one may be repeated where it is held to be right",
        )
    return found
