"""Seeds and rows that are none: one model's answers under several names, which make intervals too narrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from harness.board.rows import Group, Result, Row, RowSeed


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


def copied_models(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Rows of a board that are about the model of one before them, by a job that both have, and what says so.

    Those of two arms may be where the same plug-ins made both: with another arm's budget a baseline may come to the
    training that it has without. Rows that say the same are told of as twins.
    """
    known: dict[tuple[Group, str], list[Row]] = {}
    for row in rows:
        jobs = sorted({key for seed in row.result.seeds for key in _jobs(seed)})
        beside = [(key, other) for key in jobs for other in known.get((row.group, key), ())]
        for key, other in beside:
            one_method = row.result.arm != other.result.arm and row.result.plugins == other.result.plugins
            if not one_method and row.result.said() != other.result.said():
                yield row, f"{row.title}: shares the job {key[:12]} with {other.title}, and so is about its model"
                break
        for key in jobs:
            known.setdefault((row.group, key), []).append(row)


def _jobs(seed: RowSeed) -> set[str]:
    """The job that made the seed's model, and those that scored it."""
    last = seed.merge or (seed.stages[-1] if seed.stages else None)
    return {evaluation.key for evaluation in seed.evaluations.values()} | ({last.key} if last else set())


def _answers(result: Result, seed: RowSeed, benchmark: str) -> str:
    return result.part(benchmark, seed.seed).samples_sha256
