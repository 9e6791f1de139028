"""An arm's numbers on each benchmark and the composite, both when a row is made and when a stranger checks it.

All of it follows from samples and from what the benchmarks and the suite declare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Annotated, Literal, Self

import pydantic

from harness.api import Total
from harness.board.intervals import Bounds, Interval, item_interval, pooled, seed_interval
from harness.board.samples import Aggregate, Sample, aggregate, publishable_digest, scores_by_item
from harness.canonical import digest

Sha256 = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]

MISSING_LIMIT = 0.01
"""Share of missing items above which no difference is claimed."""

SHARE = (0.0, 1.0)
"""Where a mean of shares lies."""


class Part(pydantic.BaseModel):
    """A part of a row: nothing in it changes, and nothing unknown is in it.

    Fields that came with a later version of rows are left out of the JSON at their defaults: an older row keeps its
    digest.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Measure(Part):
    """How a benchmark's number is made, and how it is shown."""

    protocol: str
    score_name: str
    higher_is_better: bool = True
    total: Total | None = pydantic.Field(None, exclude_if=lambda rule: rule is None)
    """The number is a sum of points; None: a weighted mean over the scored items."""
    out_of: float = pydantic.Field(100, gt=0, exclude_if=lambda scale: scale == 100)  # noqa: PLR2004
    """A share of 0.653 is shown as 65.3 out of 100, or 6.53 out of 10."""


class DeclaredSuite(Part):
    """What was declared before the run, beside the benchmarks themselves."""

    name: str
    version: int | None = pydantic.Field(None, exclude_if=lambda version: version is None)
    """None where a recipe named benchmarks and no suite."""
    groups: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict, exclude_if=lambda groups: not groups)
    """Groups whose means the composite averages; without them it averages the benchmarks."""
    left_out: dict[str, tuple[str, str]] = pydantic.Field(default_factory=dict, exclude_if=lambda names: not names)
    """Benchmarks that were not scored, with their protocols and score names."""


class Suite(DeclaredSuite):
    """A suite with its benchmarks, and the digest of all that makes their numbers."""

    sha256: Sha256
    benchmarks: tuple[str, ...]

    @pydantic.model_validator(mode="after")
    def _groups_divide_the_benchmarks(self) -> Self:
        grouped = sorted(name for names in self.groups.values() for name in names)
        if self.groups and (self.version is None or grouped != sorted(self.benchmarks)):
            raise ValueError("groups divide the benchmarks of a suite with a version, each is in one")
        return self

    def shares(self) -> dict[str, float]:
        """Each benchmark's share of the composite; together 1."""
        groups = list(self.groups.values()) or [(name,) for name in self.benchmarks]
        return {name: 1 / (len(groups) * len(names)) for names in groups for name in names}


class SeedResult(Aggregate):
    """One seed's numbers on one benchmark."""

    seed: int
    samples_sha256: Sha256
    """Of the published samples: `samples/<this>.jsonl`."""


class TaskResult(Measure):
    """An arm's numbers on one benchmark, over its seeds."""

    score: float | None
    """Mean over the seeds; None where a seed has none."""
    interval: Interval | None
    """Over seeds where several differ, else over items; None for a total over the items of one seed."""
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

    @property
    def bounds(self) -> Bounds:
        """What the score cannot leave; None where some item's has left it."""
        return SHARE if all(seed.bounded for seed in self.seeds) else None

    def oriented(self, score: float) -> float:
        """The score as it enters the composite, where more is always better."""
        return score if self.higher_is_better else 1 - score


class Composite(Part):
    """The one number by which rows are ranked, declared with its rule."""

    rule: Literal["macro-average", "macro-average of groups"] = "macro-average"
    """The plain mean of the benchmarks' scores, or of their groups' means; each score is taken as 1 - score where
    lower is better."""
    score: float | None
    interval: Interval | None
    """Over seeds where several differ; else None, and the board resamples items."""
    seeds: dict[int, float | None]
    groups: dict[str, float | None] = pydantic.Field(default_factory=dict, exclude_if=lambda groups: not groups)
    """Means of the groups, over the seeds."""
    missing: tuple[str, ...] = pydantic.Field((), exclude_if=lambda names: not names)
    """Benchmarks without a number, and so without a composite."""


def suite(declared: DeclaredSuite, tasks: Mapping[str, Measure]) -> Suite:
    """The suite as the row holds it: what was to be asked, and how it is scored."""
    scored = {name: (measure.protocol, measure.score_name) for name, measure in tasks.items()}
    benchmarks = {name: list(measure) for name, measure in (scored | declared.left_out).items()}
    whole = {
        "name": declared.name,
        "version": declared.version,
        "benchmarks": benchmarks,
        "composite": {group: list(names) for group, names in declared.groups.items()},
    }
    return Suite(
        **{name: getattr(declared, name) for name in DeclaredSuite.model_fields},
        sha256=digest(benchmarks if declared.version is None else whole),
        benchmarks=tuple(benchmarks),
    )


def seed_result(seed: int, samples: Sequence[Sample], measure: Measure, n_expected: int) -> SeedResult:
    """One seed's numbers, from its samples alone."""
    numbers = aggregate(samples, measure.score_name, n_expected, measure.total)
    return SeedResult(seed=seed, samples_sha256=publishable_digest(samples), **dict(numbers))


def task_result(
    measure: Measure, seeds: Sequence[SeedResult], samples: Sequence[Sequence[Sample]], *, one_model: bool
) -> TaskResult:
    """A benchmark's numbers over the seeds, whose `samples` give the interval where the numbers do not.

    Seeds that are draws of `one_model` say nothing of other models, and its items are averaged over them.
    """
    scores = [seed.score for seed in seeds]
    score = mean_or_none(scores)
    bounds = SHARE if all(seed.bounded for seed in seeds) else None
    interval: Interval | None = None
    if score is not None and not one_model:
        interval = seed_interval([part for part in scores if part is not None], bounds=bounds)
    if score is not None and interval is None and measure.total is None:
        drawn = [scores_by_item(found, measure.score_name) for found in (samples if one_model else samples[:1])]
        interval = item_interval(list(pooled(drawn).values()), bounds=bounds)
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        outcomes.update(seed.outcomes)
    names = sorted(set.intersection(*(set(seed.metrics) for seed in seeds)))
    return TaskResult(
        **{name: getattr(measure, name) for name in Measure.model_fields},
        score=score,
        interval=interval,
        n_expected=sum(seed.n_expected for seed in seeds),
        n_scored=sum(seed.n_scored for seed in seeds),
        n_missing=sum(seed.n_missing for seed in seeds),
        outcomes=dict(sorted(outcomes.items())),
        metrics={name: fmean(seed.metrics[name] for seed in seeds) for name in names},
        seeds=tuple(seeds),
    )


def composite(tasks: Mapping[str, TaskResult], suite: Suite, *, one_model: bool) -> Composite:
    """The macro-average of each seed, and over the seeds; none where a benchmark has no number.

    Seeds that are draws of `one_model` give no interval.
    """
    by_seed: dict[int, dict[str, float | None]] = {}
    for name, task in tasks.items():
        for part in task.seeds:
            oriented = None if part.score is None else task.oriented(part.score)
            by_seed.setdefault(part.seed, dict.fromkeys(suite.benchmarks))[name] = oriented
    groups = {
        group: [mean_or_none([scores[name] for name in names]) for scores in by_seed.values()]
        for group, names in suite.groups.items()
    }
    units = list(groups.values()) or [[scores[name] for scores in by_seed.values()] for name in suite.benchmarks]
    seeds = dict(zip(by_seed, (mean_or_none(of_seed) for of_seed in zip(*units, strict=True)), strict=True))
    score = mean_or_none(list(seeds.values()))
    bounds = SHARE if all(task.bounds for task in tasks.values()) else None
    present = [part for part in seeds.values() if part is not None]
    return Composite(
        rule="macro-average of groups" if groups else "macro-average",
        score=score,
        interval=seed_interval(present, bounds=bounds) if score is not None and not one_model else None,
        seeds=seeds,
        groups={group: mean_or_none(of_seeds) for group, of_seeds in groups.items()},
        missing=tuple(name for name in suite.benchmarks if name not in tasks or tasks[name].score is None),
    )


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """The mean, or None where one value is missing: a mean over fewer would be another number."""
    found = list(values)
    present = [value for value in found if value is not None]
    return fmean(present) if present and len(present) == len(found) else None
