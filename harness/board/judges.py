"""Who judged: a judged benchmark's number says little without the judge's name and model."""

from __future__ import annotations

from collections.abc import Collection

from harness.board.measures import known_benchmarks
from harness.board.rows import Result

FAILED_JUDGMENTS = "judge_"
"""How the outcomes begin that only a judge brings about."""


def judged_benchmarks(result: Result) -> set[str]:
    """The row's benchmarks that a judge took part in: its evaluations or plug-ins say so, or its samples show it."""
    declared = {
        name
        for seed in result.seeds
        for name, evaluation in seed.evaluations.items()
        if "judge" in evaluation.needs or "judge" in evaluation.prompts
    }
    shown = {
        name
        for name, task in result.tasks.items()
        if any(part.alike for part in task.seeds) or any(kind.startswith(FAILED_JUDGMENTS) for kind in task.outcomes)
    }
    known = known_benchmarks()
    required = {
        name
        for name, task in result.tasks.items()
        if (evaluator := known.get((name, task.protocol))) is not None and evaluator.needs("judge")
    }
    return declared | shown | required


def judge_gaps(result: Result, known: Collection[str] = ()) -> list[str]:
    """What is missing of the judges' identities; `known` are benchmarks that other rows had judged.

    A judge is its model and its server's name, and the recipe's is the one that judged.
    """
    gaps = []
    for name in sorted(judged_benchmarks(result) | (set(known) & result.tasks.keys())):
        for seed in result.seeds:
            evaluation = seed.evaluations.get(name)
            judge = evaluation.prompts.get("judge") if evaluation else None
            if not isinstance(judge, dict) or not all(map(_is_told, (judge.get(part) for part in ("model", "name")))):
                gaps.append(f"{name}: seed {seed.seed} does not say who judged it, by name and model")
            elif not isinstance(result.recipe, dict) or result.recipe.get("judge") != judge:
                gaps.append(f"{name}: seed {seed.seed} was judged by {judge['model']}, whom the recipe does not name")
    return gaps


def _is_told(part: object) -> bool:
    return isinstance(part, str) and part.isprintable() and bool(part.strip())
