"""A row of the leaderboard: one arm with everything that a stranger needs to trust or doubt its numbers.

`result` is equal for equal recipes and job keys, on any machine; its digest is the row's id. `measured` is what
making it took: time, memory, machine, commit, versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal, Self

import pydantic

from harness.board.samples import Aggregate
from harness.board.statistics import Interval
from harness.canonical import digest

Sha256 = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]

MISSING_LIMIT = 0.01
"""Share of missing items above which no difference is claimed."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class RowPlugin(_Part):
    """A plug-in of the arm, and its options that differ from their defaults."""

    name: str
    version: str
    options: dict[str, Any]


class RowData(_Part):
    """A dataset the arm read."""

    name: str
    role: str
    source: Any
    content: str | None
    """SHA-256 over its rows' files."""
    n: int | None


class Suite(_Part):
    """The benchmarks that were declared before the run, and the digest of their names, protocols and score names."""

    name: str
    sha256: str
    benchmarks: tuple[str, ...]


class RowStage(_Part):
    """A training stage: its job and what the job counted."""

    stage: str
    key: str
    steps: int
    examples: int
    tokens: int
    scored_tokens: int
    counts: dict[str, Any]
    """Whatever else the job recorded: truncated, dropped, counts per dataset, final loss, template digest."""


class RowMerge(_Part):
    """How the stages' models became one."""

    key: str
    method: str
    weights: dict[str, str]


class RowEvaluation(_Part):
    """An evaluation's job, and what it recorded of its prompts."""

    key: str
    prompts: dict[str, Any]
    """Template digest, most BOS tokens of a prompt, prompt tokens, and whatever else cannot be told from samples."""


class RowSeed(_Part):
    """The jobs of one seed."""

    seed: int
    stages: tuple[RowStage, ...]
    merge: RowMerge | None
    evaluations: dict[str, RowEvaluation]
    """By benchmark."""


class SeedResult(Aggregate):
    """One seed's numbers on one benchmark."""

    seed: int
    samples_sha256: Sha256
    """Of the published samples: `samples/<this>.jsonl`."""


class TaskResult(_Part):
    """An arm's numbers on one benchmark, over its seeds."""

    protocol: str
    score_name: str
    higher_is_better: bool
    score: float | None
    """Mean over the seeds; None where a seed has none."""
    interval: Interval | None
    """Over seeds where several differ, else over items."""
    n_expected: int
    """Summed over the seeds, like every count here."""
    n_scored: int
    n_missing: int
    outcomes: dict[str, int]
    metrics: dict[str, float]
    """Means over the seeds."""
    seeds: tuple[SeedResult, ...]

    @property
    def items(self) -> int:
        """Items of the benchmark, as each seed was asked them."""
        return max(seed.n_expected for seed in self.seeds)

    @property
    def missing_too_many(self) -> bool:
        """More than 1 % of a seed's items have no score."""
        return any(seed.n_missing > MISSING_LIMIT * seed.n_expected for seed in self.seeds)

    def oriented(self, score: float) -> float:
        """The score as it enters the composite, where more is always better."""
        return score if self.higher_is_better else 1 - score


class Composite(_Part):
    """The one number by which rows are ranked, declared with its rule."""

    rule: Literal["macro-average"] = "macro-average"
    """The plain mean of the benchmarks' scores, each taken as 1 - score where lower is better."""
    score: float | None
    interval: Interval | None
    """Over seeds where several differ; else None, and the board resamples items."""
    seeds: dict[int, float | None]


class Result(_Part):
    """What was found. A function of the recipe and of the jobs' keys."""

    arm: str
    plugins: tuple[RowPlugin, ...]
    match: str | None
    recipe: Any
    recipe_sha256: str
    suite: Suite
    model: Any
    engine: Any
    limit: int | None
    data: tuple[RowData, ...]
    seeds: tuple[RowSeed, ...]
    tasks: dict[str, TaskResult]
    composite: Composite

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.tasks or set(self.tasks) != set(self.suite.benchmarks):
            raise ValueError("the tasks of a row are the suite's benchmarks")
        seeds = [seed.seed for seed in self.seeds]
        asked = [[part.seed for part in task.seeds] for task in self.tasks.values()]
        if not seeds or any(one != seeds for one in (*asked, list(self.composite.seeds))):
            raise ValueError("every seed of a row has a number on every benchmark")
        return self

    def tokens_seen(self) -> float:
        """Training tokens of one seed, over all stages and epochs; the mean where seeds differ."""
        return fmean(sum(stage.tokens for stage in seed.stages) for seed in self.seeds)

    def examples_seen(self) -> float:
        """Training examples of one seed, over all stages and epochs; the mean where seeds differ."""
        return fmean(sum(stage.examples for stage in seed.stages) for seed in self.seeds)


class Git(_Part):
    """The checkout that made the row."""

    commit: str
    dirty: bool


class JobMeasure(_Part):
    """What one job took, as its worker recorded it."""

    seed: int
    job: str
    """`train specialist`, `merge`, `evaluate gsm8k`."""
    key: str
    measured: dict[str, Any]


class Measured(_Part):
    """How the row came to be: differs from machine to machine and from day to day."""

    baseline: str | None
    """The arm of the same run that this one was compared with."""
    differs: dict[str, Any]
    """Every setting in which it differs from that arm."""
    command: str
    git: Git | None
    packages: dict[str, str]
    hardware: dict[str, Any]
    plugin_digests: dict[str, str]
    plugin_distributions: dict[str, str | None]
    accepted_source: bool
    seconds: float | None
    """Sum over the jobs; None where a job did not say."""
    device_hours: float | None = None
    """Sum over the jobs of their time on each of their devices; None where a job did not say, and before version 2."""
    peak_bytes: int | None
    restarted: tuple[str, ...] = ()
    """Stages that were begun anew after they had left a checkpoint: `specialist (seed 0)`."""
    jobs: tuple[JobMeasure, ...]


class Row(_Part):
    """One arm of one run, published or in the run's own folder."""

    schema_version: Literal[1, 2] = 2
    """2 knows `device_hours` and `restarted`."""
    id: Sha256
    """Digest of `result`."""
    result: Result
    measured: Measured

    @pydantic.model_validator(mode="after")
    def _id_is_the_digest(self) -> Self:
        if self.id != result_digest(self.result):
            raise ValueError("the id of a row is the digest of its result")
        return self


def device_hours(jobs: Sequence[JobMeasure]) -> float | None:
    """What the jobs took of all their devices, each job once; None where one did not say."""
    once = {job.key: job.measured for job in jobs}  # seeds may share a job
    hours = [_device_hours(measured) for measured in once.values()]
    return None if None in hours else sum(hour for hour in hours if hour is not None)


def _device_hours(measured: Mapping[str, Any]) -> float | None:
    if "device_hours" in measured:
        return float(measured["device_hours"])
    seconds = measured.get("seconds")
    return None if seconds is None else float(seconds) * int(measured.get("world_size", 1)) / 3600


def result_digest(result: Result) -> str:
    """The id of the row that holds this result."""
    return digest(result.model_dump(mode="json"))


def row_path(folder: Path, row_id: str) -> Path:
    """Where a row lies below a run folder or `leaderboards/`."""
    return folder / "rows" / f"{row_id}.json"


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean, or None where one value is missing: a mean over fewer would be another number."""
    present = [value for value in values if value is not None]
    return fmean(present) if present and len(present) == len(values) else None


def composite_scores(tasks: Mapping[str, TaskResult], seeds: Sequence[int]) -> dict[int, float | None]:
    """Seed to the macro-average of that seed's scores."""
    scores: dict[int, float | None] = {}
    for seed in seeds:
        of_seed = [next(part.score for part in task.seeds if part.seed == seed) for task in tasks.values()]
        scores[seed] = mean_or_none(
            [
                None if score is None else task.oriented(score)
                for score, task in zip(of_seed, tasks.values(), strict=True)
            ]
        )
    return scores
