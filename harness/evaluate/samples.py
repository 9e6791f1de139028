"""A scored item, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.api import Scores
from harness.canonical import Json
from harness.evaluate.questions import plain

Outcome = Literal[
    "ok",
    "unparsed",
    "truncated_output",
    "prompt_cut",
    "scorer_error",
    "engine_error",
    "judge_unparsed",
    "judge_refused",
    "judge_error",
    "sandbox_failure",
    "ungraded",
]
"""Of several the last counts, since it explains the others. From `scorer_error` on the item has no score."""

OUTCOMES: tuple[Outcome, ...] = Outcome.__args__  # type: ignore[attr-defined]

Record = Mapping[str, Any]
"""A line of answers.jsonl."""


@dataclass(frozen=True)
class Sample:
    """An item, answered and scored."""

    record: Record
    target: Json
    scores: Scores
    error: str | None = None
    """How the scorer failed, where it did, or why the model did not answer."""
    alike: bool = False
    """Judged, and one of the most items, to which the model gave one and the same answer."""

    @property
    def finish(self) -> Literal["stop", "length"] | None:
        """`length` where an answer ran into the limit; None where nothing was generated."""
        ends = {answer["finish"] for answer in self._answers() if "finish" in answer}
        return None if not ends else "length" if "length" in ends else "stop"

    @property
    def prompt_cut(self) -> int:
        """Tokens cut from the longest of its prompts."""
        return max((int(answer["prompt_cut"]) for answer in self._answers()), default=0)

    @property
    def texts(self) -> list[str]:
        """What was generated."""
        return [answer["text"] for answer in self._answers() if "text" in answer]

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if self.scores.missing:
            return self.scores.missing
        if self.prompt_cut:
            return "prompt_cut"
        if self.finish == "length":
            return "truncated_output"
        return "unparsed" if self.scores.unparsed else "ok"

    def line(self) -> Json:
        """Its line of samples.jsonl. The question itself is left out: it belongs to others, and has its hash here."""
        said = [a["text"] if "text" in a else [a["logprob"], a["greedy"]] for a in self._answers()]
        single = len(said) == 1 and isinstance(said[0], str)
        judged = [{"outcome": v.outcome, "value": plain(v.value), "text": v.text} for v in self.scores.judgments]
        return {
            "id": self.record["id"],
            "doc_sha256": self.record["doc_sha256"],
            "prompt_sha256": self.record["prompt_sha256"],
            "response": said[0] if single else said,
            "finish": self.finish,
            "prompt_cut": self.prompt_cut,
            "extracted": plain(self.scores.extracted),
            "target": self.target,
            "scores": dict(self.scores.values),
            **({"weights": dict(self.scores.weights)} if self.scores.weights else {}),
            "outcome": self.outcome,
            **({"judgments": judged} if judged else {}),
            **({"detail": plain(self.scores.detail)} if self.scores.detail else {}),
            **({"error": self.error} if self.error else {}),
            **({"alike": True} if self.alike else {}),
        }

    def _answers(self) -> list[Mapping[str, Any]]:
        return [answer for answers in self.record["rounds"] for answer in answers]


def unanswered(record: Record) -> Sample:
    """An item that the model was not brought to answer."""
    return Sample(record, None, Scores({}, missing="engine_error"), record["unanswered"])


def failed(record: Record, target: Json, error: Exception) -> Sample:
    """An item whose scorer raised."""
    return Sample(record, target, Scores({}, missing="scorer_error"), f"{type(error).__name__}: {error}")
