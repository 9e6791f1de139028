"""What a benchmark asks, before any tokenizer sees it, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.api import Scores
from harness.canonical import Json


@dataclass(frozen=True)
class Question:
    """A document of a task and all that is asked about it: choices to score, or answers to draw."""

    task: str
    """The lm-eval task: the benchmark's own, or one of its group's."""
    index: int
    """Its place in that task."""
    id: str | int
    """The place; in a group `task/place`."""
    doc: Mapping[str, Any]
    instances: tuple[Any, ...] = field(repr=False)
    """lm-eval's, in order: each a context and a continuation to be scored, or a context to be continued `repeats`
    times."""

    @property
    def request_ids(self) -> tuple[str, ...]:
        """What its requests are called, in the order in which its answers are scored."""
        return tuple(name for n in range(len(self.instances)) for name in self.ids_of(n))

    def ids_of(self, n: int) -> tuple[str, ...]:
        """What the requests of its nth instance are called: `id.n`, or `id.n.repeat` for answers that are drawn."""
        instance = self.instances[n]
        if instance.request_type != "generate_until":
            return (f"{self.id}.{n}",)
        return tuple(f"{self.id}.{n}.{repeat}" for repeat in range(instance.repeats or 1))


@dataclass(frozen=True)
class TaskScores(Scores):
    """What the task makes of a question's answers: `metric,filter` to numbers, filter to what it left of the answer."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """`metric,filter` to what a metric is computed from that is no mean over samples, such as BLEU or perplexity."""


def plain(value: Any) -> Json:
    """A value of lm-eval or numpy as JSON; what has no JSON form as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
