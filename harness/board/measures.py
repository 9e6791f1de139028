"""How numbers are made: a benchmark's protocol says, and a suite's version. No row does, and so rows agree."""

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
from harness.suite import Suite, read_suite, resolve, shipped_suites

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


@cache
def known_suites() -> Mapping[str, tuple[Suite, frozenset[str]]]:
    """The shipped suites by name, with their benchmarks; without those whose plug-ins do not load."""
    found: dict[str, tuple[Suite, frozenset[str]]] = {}
    for name in shipped_suites():
        with suppress(HarnessError):
            suite = read_suite(name)
            found[suite.name] = suite, frozenset(resolve(suite))
    return found


def undeclared_suite(result: Result) -> Iterator[str]:
    """In what a row's suite is none of those that are shipped, although it has the name and version of one."""
    mine = result.suite
    suite, benchmarks = known_suites().get(mine.name, (None, frozenset()))
    if suite is None or suite.version != mine.version:
        return
    called = f"its suite is called {mine.name} {mine.version}"
    if other := sorted(benchmarks ^ set(mine.benchmarks)):
        yield f"{called}, which differs from it in {', '.join(other)}"
    elif dict(mine.groups) != dict(suite.composite.groups):
        yield f"{called}, which has other groups"
