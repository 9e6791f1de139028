"""How a benchmark's number is made: its protocol says, no row does, and so rows of one protocol agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache

from harness.api import Evaluator, Total
from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.board.numbers import Measure
from harness.board.rows import Result
from harness.discovery import installed
from harness.errors import HarnessError

RULE = ("score_name", "higher_is_better", "total", "out_of")
"""Of a measure, all that its protocol settles."""


@cache
def known_benchmarks() -> Mapping[tuple[str, str], Evaluator]:
    """What the installed plug-ins offer under their own options, by name and protocol.

    A plug-in that does not load offers nothing: what others measured is checked all the same.
    """
    found: dict[tuple[str, str], Evaluator] = {}
    for plugin in installed():
        with suppress(HarnessError):
            offered = bind(ArmSpec((FALLBACK,)), [plugin]).evaluators()
            found |= {(name, evaluator.protocol): evaluator for name, (evaluator, _) in offered.items()}
    return found


def declared_measure(evaluator: Evaluator) -> Measure:
    """How a benchmark's number is made, as its plug-in says."""
    return Measure(
        protocol=evaluator.protocol,
        score_name=evaluator.task.score,
        higher_is_better=evaluator.higher_is_better,
        total=evaluator.aggregate if isinstance(evaluator.aggregate, Total) else None,
        out_of=evaluator.out_of,
    )


def other_rule(measure: Measure, usual: Measure) -> str:
    """In what two measures of one protocol differ: `out_of is 10, and not 100`; empty where they do not."""
    mine, theirs = (one.model_dump(mode="json", include=set(RULE)) for one in (measure, usual))
    differing = (name for name in RULE if mine.get(name) != theirs.get(name))
    return next((f"{name} is {getattr(measure, name)}, and not {getattr(usual, name)}" for name in differing), "")


def undeclared(result: Result) -> Iterator[str]:
    """Numbers that are not made as the installed benchmark of that name and protocol says."""
    for name, task in result.tasks.items():
        evaluator = known_benchmarks().get((name, task.protocol))
        if evaluator is not None and (why := other_rule(task, declared_measure(evaluator))):
            yield f"{name}: {why}, as {task.protocol} has it"
