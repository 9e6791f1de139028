"""Seeds that are none: one model's answers under the names of several, which would make an interval too narrow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from harness.board.rows import Result, RowSeed


def copied_seeds(result: Result) -> Iterator[str]:
    """Pairs of seeds that share a job or all their answers, in a row whose seeds are models of their own.

    Models that get everything right, or nothing, can answer alike.
    """
    if result.one_model:
        return
    for a, b in combinations(result.seeds, 2):
        if shared := sorted(_jobs(a) & _jobs(b)):
            yield f"seeds {a.seed} and {b.seed} share the job {shared[0][:12]}, and so are one model"
        elif all(_answers(result, a, name) == _answers(result, b, name) for name in result.tasks) and any(
            result.part(name, a.seed).score not in {None, 0, 1} for name in result.tasks
        ):
            yield f"seeds {a.seed} and {b.seed} have the same samples of every benchmark"


def _jobs(seed: RowSeed) -> set[str]:
    """The job that made the seed's model, and those that scored it."""
    last = seed.merge or (seed.stages[-1] if seed.stages else None)
    return {evaluation.key for evaluation in seed.evaluations.values()} | ({last.key} if last else set())


def _answers(result: Result, seed: RowSeed, benchmark: str) -> str:
    return result.part(benchmark, seed.seed).samples_sha256
