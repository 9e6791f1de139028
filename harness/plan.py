"""What a plan is: arms whose every step names a job, and the jobs by key. Plain data, without torch.

    prepare (model) -> train (stage) -> train (stage) -> merge -> respond (questions) -> evaluate (benchmark)

Two arms that need the same work name the same key, so it is done once. `harness.planner` makes plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from harness.api import Evaluator
from harness.arms import BoundArm
from harness.armspec import ArmSpec
from harness.canonical import Json, digest
from harness.data.resolve import Dataset
from harness.jobs import Job
from harness.recipe import Recipe
from harness.suite import chosen


@dataclass(frozen=True)
class StagePlan:
    """One training stage of one seed of an arm."""

    name: str
    key: str
    examples: int | None
    """Examples in the mixture, before epochs; None while unknown."""
    epochs: float
    train: Mapping[str, Json]
    """Training settings that the method itself defines for the stage."""
    penalised: bool = False
    """Whether its loss looks at the weights themselves."""
    without: tuple[str, ...] = ()
    """Plug-ins of the arm's loss that have no part in the stage, which brings a loss of its own."""


@dataclass(frozen=True)
class Evaluation:
    """One benchmark for one model: the job that asks, and the job that scores."""

    respond: str
    evaluate: str


@dataclass(frozen=True)
class SeedPlan:
    """One seed of an arm: its stages, the model that comes of them, and the model's evaluations."""

    seed: int
    stages: tuple[StagePlan, ...]
    merge: str | None
    model: str
    evaluations: Mapping[str, Evaluation]


@dataclass(frozen=True)
class ArmPlan:
    """One arm of the comparison."""

    id: str
    spec: ArmSpec
    bound: BoundArm = field(repr=False)
    baseline: str | None
    seeds: tuple[SeedPlan, ...]
    differs: Mapping[str, Json]
    """Every setting in which the arm differs from the baseline."""
    data: Mapping[str, Dataset] = field(repr=False)
    """What it trains on, by name."""


@dataclass(frozen=True)
class Plan:
    """Everything a run will do, and nothing of how."""

    recipe: Recipe
    data: Mapping[str, Dataset]
    """The recipe's datasets by name; an arm may have others."""
    arms: tuple[ArmPlan, ...]
    jobs: Mapping[str, Job]
    """Key to job, parents before children."""

    @property
    def unscored(self) -> bool:
        """Whether nothing is scored: every benchmark waits for its judge."""
        return not any(seed.evaluations for arm in self.arms for seed in arm.seeds)

    @property
    def waiting(self) -> Mapping[str, Evaluator]:
        """Benchmarks that are asked, and scored once somebody judges."""
        first = self.arms[0]
        asked = chosen(self.recipe.entries(), first.bound.evaluators())
        return {name: one for name, (one, _) in asked.items() if name not in first.seeds[0].evaluations}

    def to_json(self) -> Json:
        """The plan for `--json` and for the run folder."""
        return {
            "recipe": self.recipe.result_settings(),
            "benchmarks": self._benchmarks(),
            "arms": [
                {
                    "id": arm.id,
                    "plugins": [p.stamp() for p in arm.bound.plugins],
                    "baseline": arm.baseline,
                    "differs": dict(arm.differs),
                    "seeds": [_seed_json(seed) for seed in arm.seeds],
                }
                for arm in self.arms
            ],
            "jobs": {
                key: {"kind": job.kind, "label": job.label, "parents": dict(job.parents), "declared": job.declared}
                for key, job in self.jobs.items()
            },
        }

    @property
    def digest(self) -> str:
        """Equal for equal plans."""
        return digest(self.to_json())

    def _benchmarks(self) -> dict[str, Json]:
        """What whoever reads the samples must know of them."""
        evaluators = {name: one for arm in self.arms for name, (one, _) in arm.bound.evaluators().items()}
        planned = dict.fromkeys(name for arm in self.arms for seed in arm.seeds for name in seed.evaluations)
        return {
            name: {
                "protocol": evaluators[name].protocol,
                "score": evaluators[name].task.score,
                "higher_is_better": evaluators[name].higher_is_better,
            }
            for name in planned
        }


def arm_jobs(plan: Plan, arm: ArmPlan) -> set[str]:
    """Keys of all the jobs that the arm needs, whoever else needs them too."""
    todo = [key for seed in arm.seeds for key in (seed.model, *evaluation_keys(seed))]
    found: set[str] = set()
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += plan.jobs[key].parents.values()
    return found


def evaluation_keys(seed: SeedPlan) -> list[str]:
    """The jobs that ask and score, each once."""
    return list(dict.fromkeys(key for of in seed.evaluations.values() for key in (of.respond, of.evaluate)))


def _seed_json(seed: SeedPlan) -> Json:
    stages = [{"name": s.name, "key": s.key, "examples": s.examples, "epochs": s.epochs} for s in seed.stages]
    return {
        "seed": seed.seed,
        "stages": stages,
        "merge": seed.merge,
        "model": seed.model,
        "evaluations": {name: asdict(of) for name, of in seed.evaluations.items()},
    }
