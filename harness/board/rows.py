"""A row of the leaderboard: one arm with everything that a stranger needs to trust or doubt its numbers.

`result` is equal for equal recipes and job keys, on any machine; its digest is the row's id. `measured` is what
making it took: time, memory, machine, commit, versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal, Self

import pydantic

from harness.api.benchmarks import Need
from harness.board.facts import Engine, Model, Source
from harness.board.folders import ROWS
from harness.board.numbers import Composite, Part, SeedResult, Sha256, Suite, TaskResult
from harness.board.samples import Sample
from harness.canonical import digest

Group = tuple[str, str]
"""Digests of recipe and suite: rows that share both share a board."""

Place = tuple[str, str, str]
"""A board and an arm."""


class RowPlugin(Part):
    """A plug-in of the arm, and its options that differ from their defaults."""

    name: str
    version: str
    options: dict[str, Any]


class RowData(Part):
    """A dataset the arm read."""

    name: str
    role: str
    source: Source
    content: Sha256 | None
    """SHA-256 over its rows' files."""
    n: int | None


class RowStage(Part):
    """A training stage: its job and what the job counted."""

    stage: str
    key: Sha256
    steps: int
    examples: int
    tokens: int
    scored_tokens: int
    counts: dict[str, Any]
    """Whatever else the job recorded: truncated, dropped, counts per dataset, final loss, template digest."""


class RowMerge(Part):
    """How the stages' models became one."""

    key: Sha256
    method: str
    weights: dict[str, str]


class RowEvaluation(Part):
    """An evaluation's job, and what it recorded of its prompts."""

    key: Sha256
    prompts: dict[str, Any]
    """Template digest, most BOS tokens of a prompt, prompt tokens, who judged, and whatever else cannot be told from
    samples."""
    needs: tuple[Need, ...] = pydantic.Field((), exclude_if=lambda needs: not needs)
    """What the benchmark cannot be scored without, e.g. a judge."""


class RowSeed(Part):
    """The jobs of one seed."""

    seed: int
    stages: tuple[RowStage, ...]
    merge: RowMerge | None
    evaluations: dict[str, RowEvaluation]
    """By benchmark."""


class Result(Part):
    """What was found. A function of the recipe and of the jobs' keys."""

    arm: str
    plugins: tuple[RowPlugin, ...]
    match: str | None
    recipe: Any
    recipe_sha256: Sha256
    suite: Suite
    model: Model
    engine: Engine
    limit: int | None
    data: tuple[RowData, ...]
    seeds: tuple[RowSeed, ...]
    tasks: dict[str, TaskResult]
    composite: Composite

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.tasks or {*self.tasks, *self.suite.left_out} != set(self.suite.benchmarks):
            raise ValueError("the tasks of a row are the suite's benchmarks")
        seeds = [seed.seed for seed in self.seeds]
        asked = [[part.seed for part in task.seeds] for task in self.tasks.values()]
        if not seeds or any(one != seeds for one in (*asked, list(self.composite.seeds))):
            raise ValueError("every seed of a row has a number on every benchmark")
        if any(seed.evaluations.keys() != self.tasks.keys() for seed in self.seeds):
            raise ValueError("every number of a row has the job that scored it")
        return self

    @property
    def one_model(self) -> bool:
        """Whether its seeds are draws of one model's answers, and not models of their own."""
        return one_model(self.model, trained=any(seed.stages for seed in self.seeds))

    def said(self) -> str:
        """Digest of the claim: this arm, under this recipe and with these seeds, has these numbers."""
        claim = {"arm", "match", "recipe_sha256", "suite", "model", "tasks", "composite"}
        return digest(self.model_dump(mode="json", include=claim))

    def part(self, benchmark: str, seed: int) -> SeedResult:
        """One seed's numbers on a benchmark."""
        return next(part for part in self.tasks[benchmark].seeds if part.seed == seed)

    def tokens_seen(self) -> float:
        """Training tokens of one seed, over all stages and epochs; the mean where seeds differ."""
        return fmean(sum(stage.tokens for stage in seed.stages) for seed in self.seeds)

    def examples_seen(self) -> float:
        """Training examples of one seed, over all stages and epochs; the mean where seeds differ."""
        return fmean(sum(stage.examples for stage in seed.stages) for seed in self.seeds)


class Git(Part):
    """The checkout that made the row."""

    commit: str
    dirty: bool


class JobMeasure(Part):
    """What one job took, as its worker recorded it."""

    AMOUNTS: ClassVar = ("seconds", "device_hours", "world_size", "peak_memory_bytes")

    seed: int
    job: str
    """`train specialist`, `merge`, `evaluate gsm8k`."""
    key: Sha256
    measured: dict[str, Any]

    @pydantic.model_validator(mode="after")
    def _amounts_are_amounts(self) -> Self:
        for name in self.AMOUNTS:
            amount = self.measured.get(name, 0)
            if not isinstance(amount, int | float) or not 0 <= amount < math.inf:
                raise ValueError(f"{name} is {amount!r}, and no amount")
        return self


class Measured(Part):
    """How the row came to be: differs from machine to machine and from day to day."""

    baseline: str | None
    """The arm of the same run that this one was compared with."""
    differs: dict[str, Any]
    """Every setting in which it differs from that arm."""
    command: str
    git: Git | None
    packages: dict[str, str]
    hardware: dict[str, Any]
    plugin_digests: dict[str, Sha256]
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


class Row(Part):
    """One arm of one run, published or in the run's own folder."""

    schema_version: Literal[1, 2, 3, 4] = 4
    """2 knows `device_hours` and `restarted`; 3 suites with a version, groups, totals, scales and scores beyond 1; 4
    what benchmarks need."""
    id: Sha256
    """Digest of `result`."""
    result: Result
    measured: Measured

    @property
    def group(self) -> Group:
        """Which board it stands on."""
        return self.result.recipe_sha256, self.result.suite.sha256

    @property
    def place(self) -> Place:
        """Which board it stands on, and as what."""
        return *self.group, self.result.arm

    @property
    def title(self) -> str:
        """The row as findings call it."""
        return f"row {self.id[:12]} ({self.result.arm})"

    def spent(self) -> dict[str, Any]:
        """What `measured` should say of all its jobs together, as far as the row's version knows."""
        unknown = {"device_hours": None, "restarted": ()} if self.schema_version == 1 else {}
        return spent(self.measured.jobs) | unknown

    @pydantic.model_validator(mode="after")
    def _id_is_the_digest(self) -> Self:
        if self.id != result_digest(self.result):
            raise ValueError("the id of a row is the digest of its result")
        return self


def one_model(model: Mapping[str, Any], *, trained: bool) -> bool:
    """Whether all seeds are one model: not trained, and not made on the spot from the seed either."""
    return not trained and not model.get("init")


def spent(jobs: Sequence[JobMeasure]) -> dict[str, Any]:
    """What `Measured` says of the jobs together, each counted once."""
    once = {job.key: job.measured for job in jobs}  # seeds may share a job
    peaks = [int(measured["peak_memory_bytes"]) for measured in once.values() if "peak_memory_bytes" in measured]
    return {
        "seconds": _sum(measured.get("seconds") for measured in once.values()),
        "device_hours": device_hours(jobs),
        "peak_bytes": max(peaks, default=None),
        "restarted": tuple(
            f"{job.job.removeprefix('train ')} (seed {job.seed})" for job in jobs if job.measured.get("restarted")
        ),
    }


def device_hours(jobs: Sequence[JobMeasure]) -> float | None:
    """What the jobs took of all their devices, each job once; None where one did not say."""
    return _sum(_device_hours(measured) for measured in {job.key: job.measured for job in jobs}.values())


def _sum(amounts: Iterable[float | None]) -> float | None:
    found = list(amounts)
    return None if None in found else sum(amount for amount in found if amount is not None)


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
    return folder / ROWS / f"{row_id}.json"


SamplesOf = Callable[[Row, str, int], Sequence[Sample]]
"""Row, benchmark and seed to the evaluation's samples."""
