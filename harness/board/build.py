"""From an arm's finished jobs to its row: every number is recomputed from the samples, and must agree with the job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.board.inputs import ArmRun, EvaluateRun, RunInfo, SeedRun, TrainRun
from harness.board.numbers import SeedResult, TaskResult, composite, seed_result, suite, task_result
from harness.board.rows import (
    Git,
    JobMeasure,
    Measured,
    Result,
    Row,
    RowData,
    RowEvaluation,
    RowMerge,
    RowPlugin,
    RowSeed,
    RowStage,
    one_model,
    result_digest,
    spent,
)
from harness.board.samples import Sample, Samples, read_samples
from harness.canonical import digest, file_digest
from harness.errors import Failure

FROM_SAMPLES = {
    "score",
    "metrics",
    "n_expected",
    "n_scored",
    "n_missing",
    "outcomes",
    "samples_sha256",
    "prompts_cut",
    "outputs_truncated",
    "unparsed",
    "alike",
}
"""Parts of an evaluate job's result that the row counts itself."""


def arm_samples(arm: ArmRun) -> Samples:
    """The samples of all the arm's evaluations. Raises Failure where a file is not the one its job recorded."""
    samples: dict[tuple[str, int], Sequence[Sample]] = {}
    for run in arm.seeds:
        for benchmark, evaluation in run.evaluations.items():
            path = evaluation.folder / "samples.jsonl"
            found = read_samples(path)
            if file_digest(path) != evaluation.result["samples_sha256"]:
                raise Failure(
                    f"{path} is not what job {evaluation.key[:12]} recorded",
                    f"`harness store rm {evaluation.key[:12]}`, then run again",
                )
            samples[benchmark, run.seed] = found
    return samples


def build_row(arm: ArmRun, run: RunInfo, samples: Samples) -> Row:
    """The arm's row. Raises Failure where a job's own score does not follow from its samples."""
    model = run.model if arm.model is None else arm.model
    one = one_model(model, trained=any(seed.train for seed in arm.seeds))
    tasks = {name: _task(name, arm, samples, one_model=one) for name in arm.seeds[0].evaluations}
    declared = suite(run.suite, tasks)
    result = Result(
        arm=arm.id,
        plugins=tuple(
            RowPlugin(name=plugin.name, version=plugin.version, options=dict(plugin.options)) for plugin in arm.plugins
        ),
        match=arm.match,
        recipe=run.recipe,
        recipe_sha256=digest(run.recipe),
        suite=declared,
        model=model,
        engine=run.engine,
        limit=run.limit,
        data=tuple(
            RowData(name=data.name, role=data.role, source=data.source, content=data.content, n=data.n)
            for data in arm.data
        ),
        seeds=tuple(_seed(seed) for seed in arm.seeds),
        tasks=tasks,
        composite=composite(tasks, declared, one_model=one),
    )
    return Row(id=result_digest(result), result=result, measured=_measured(arm, run))


def _task(name: str, arm: ArmRun, samples: Samples, *, one_model: bool) -> TaskResult:
    measure = arm.seeds[0].evaluations[name].measure()
    seeds = []
    for run in arm.seeds:
        evaluation = run.evaluations[name]
        numbers = seed_result(run.seed, samples[name, run.seed], measure, int(evaluation.result["n_expected"]))
        _agrees(evaluation, numbers)
        seeds.append(numbers)
    found = [samples[name, run.seed] for run in arm.seeds]
    return task_result(measure, seeds, found, one_model=one_model)


def _agrees(evaluation: EvaluateRun, numbers: SeedResult) -> None:
    """A job's score and what its samples give are one number, or the row must not be written."""
    recorded = evaluation.result["score"]
    same = recorded is None and numbers.score is None
    if recorded is not None and numbers.score is not None:
        same = math.isclose(float(recorded), numbers.score, abs_tol=1e-9)
    if not same:
        raise Failure(
            f"evaluate job {evaluation.key[:12]} recorded the score {recorded}, and its samples give {numbers.score}",
            f"check that its samples hold {evaluation.score_name!r}, or `harness store rm {evaluation.key[:12]}`",
        )


def _seed(run: SeedRun) -> RowSeed:
    merge = run.merge and RowMerge(key=run.merge.key, method=run.merge.method, weights=dict(run.merge.weights))
    return RowSeed(
        seed=run.seed,
        stages=tuple(_stage(train) for train in run.train),
        merge=merge,
        evaluations={name: _evaluation(evaluation) for name, evaluation in run.evaluations.items()},
    )


def _evaluation(evaluation: EvaluateRun) -> RowEvaluation:
    prompts = {name: value for name, value in evaluation.result.items() if name not in FROM_SAMPLES}
    return RowEvaluation(key=evaluation.key, prompts=prompts, needs=evaluation.needs)


def _stage(train: TrainRun) -> RowStage:
    whole = {name: int(train.result[name]) for name in ("steps", "examples", "tokens", "scored_tokens")}
    counts = {name: value for name, value in train.result.items() if name not in whole}
    return RowStage(stage=train.stage, key=train.key, counts=counts, **whole)


def _measured(arm: ArmRun, run: RunInfo) -> Measured:
    jobs = tuple(job for seed in arm.seeds for job in _jobs(seed))
    return Measured(
        baseline=arm.baseline,
        differs=dict(arm.differs),
        command=run.command,
        git=run.git and Git(commit=run.git.commit, dirty=run.git.dirty),
        packages=dict(run.packages),
        hardware=dict(run.hardware),
        plugin_digests={plugin.name: plugin.digest for plugin in arm.plugins},
        plugin_distributions={plugin.name: plugin.distribution for plugin in arm.plugins},
        accepted_source=run.accepted_source,
        jobs=jobs,
        **spent(jobs),
    )


def _jobs(seed: SeedRun) -> list[JobMeasure]:
    parts: list[tuple[str, str, Mapping[str, Any]]] = [
        (f"train {train.stage}", train.key, train.measured) for train in seed.train
    ]
    if seed.merge is not None:
        parts.append(("merge", seed.merge.key, seed.merge.measured))
    for name, job in seed.evaluations.items():
        if job.respond_key is not None:
            parts.append((f"ask {name}", job.respond_key, job.respond_measured))
        parts.append((f"evaluate {name}", job.key, job.measured))
    return [JobMeasure(seed=seed.seed, job=job, key=key, measured=dict(measured)) for job, key, measured in parts]
