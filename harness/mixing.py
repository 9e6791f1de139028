"""A stage's data as jobs see it: datasets of the recipe, and those that other jobs of the plan make for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.api import Answered, Curated, Data, Derived, Fisher, Stage, StageFisher, sample, with_role
from harness.api.nodes import curated
from harness.arms import BoundArm
from harness.canonical import Json
from harness.curation.declare import Declarer, default_name
from harness.data.mixtures import count, settled
from harness.data.resolve import ArmDatasets, Dataset, Places, derived_item, made_parents
from harness.discovery import suggestion
from harness.errors import UserError
from harness.evaluate.declare import Declarer as BenchmarkDeclarer
from harness.jobs import BenchmarkItems, DataDeclaration, EstimateFisher, Generate, Job, MixtureItem
from harness.judge.settings import Judging
from harness.recipe import Recipe
from harness.suite import chosen


class Jobs(Protocol):
    """The plan that the jobs are added to."""

    recipe: Recipe
    places: Places
    data: ArmDatasets

    def add(self, job: Job) -> str:
        """Plan a job; returns its key."""
        ...

    def payload(self, bound: BoundArm) -> dict[str, Json]:
        """How a worker finds the code again."""
        ...


@dataclass(frozen=True)
class Mixer:
    """Lays out the mixture of one stage of an arm."""

    jobs: Jobs
    bound: BoundArm
    stage: Stage
    run_seed: int
    models: Mapping[str, str]
    """Keys of `base` and the stages before."""

    def items(self) -> tuple[MixtureItem, ...]:
        """The stage's data as its job declares it. Raises UserError for a dataset or a model that is not there."""
        if not self.stage.mixture.items:
            what = "its mixture must name a dataset" if self._held else "name some: --set data.general=SOURCE"
            raise UserError(f"{self._who} trains on no data", what)
        return settled(tuple(map(self._item, self.stage.mixture.items)), count)

    @property
    def seed(self) -> int:
        """What the stage draws by: its own seed, or the run's."""
        return self.run_seed if self.stage.seed is None else self.stage.seed

    @property
    def _who(self) -> str:
        return f"stage {self.stage.name!r} of {self.bound.arm.id}"

    def _item(self, data: Data) -> MixtureItem:
        if isinstance(data, Derived):
            return derived_item(self._item(data.parent), data, self.seed)
        if isinstance(data, Answered):
            return self._answered(data)
        if isinstance(data, Curated):
            return self._curated(data)
        if data not in self._held:
            raise UserError(f"{self._who} asks for the dataset {data!r}", suggestion(data, tuple(self._held)))
        return self._held[data].item

    @property
    def _held(self) -> Mapping[str, Dataset]:
        """The arm's datasets by name."""
        return self.jobs.data.of(self.bound)

    def fisher(self, wanted: Fisher, max_length: int) -> str:
        """The job that estimates the Fisher information of the base model. Raises UserError for a role without data."""
        names = with_role(self.jobs.data.infos(self.bound), wanted.role)
        items = []
        for name in names:
            item, share = self._held[name].item, max(1, wanted.examples // len(names))
            n = count(item)
            items.append(derived_item(item, sample(name, amount=share if n is None else min(n, share)), seed=0))
        declared = EstimateFisher(items=tuple(items), max_length=max_length)
        label = f"{self.bound.arm.id}: Fisher information of the base on {', '.join(names)}"
        parents = {"model": self._model("base", "the Fisher information")}
        payload = self.jobs.payload(self.bound)
        return self.jobs.add(Job("fisher", label, declared.model_dump(mode="json"), parents=parents, payload=payload))

    def stage_fisher(self, wanted: StageFisher, max_length: int) -> str:
        """The job that estimates the Fisher information of the stage's own model on the stage's data."""
        items, model = self.items(), self._model(self.stage.name, "the Fisher information")
        declared = EstimateFisher(
            items=items, max_length=max_length, examples=wanted.examples, labels=wanted.labels, seed=self.seed
        )
        label = f"{self.bound.arm.id}: Fisher information of {self.stage.name} (seed {self.run_seed})"
        parents, payload = {"model": model, **made_parents(items)}, self.jobs.payload(self.bound)
        return self.jobs.add(Job("fisher", label, declared.model_dump(mode="json"), parents=parents, payload=payload))

    def _model(self, name: str, what: str) -> str:
        if name not in self.models:
            raise UserError(f"{self._who} wants {what} of {name!r}", suggestion(name, tuple(self.models)))
        return self.models[name]

    def _answered(self, data: Answered) -> MixtureItem:
        """The job that answers an item's prompts, and the dataset that comes of it."""
        model, item = self._model(data.model, "answers"), self._item(data.parent)
        declared = Generate(
            item=item,
            engine=self.jobs.recipe.engine,
            samples=data.samples,
            temperature=data.temperature,
            top_p=data.top_p,
            max_new_tokens=data.max_new_tokens,
            seed=self.seed,
        )
        job = Job(
            "generate",
            f"{self.bound.arm.id}: {data.model} answers {item.data.name} (seed {self.seed})",
            declared.model_dump(mode="json"),
            parents={"model": model, **made_parents([item])},
            payload=self.jobs.payload(self.bound),
        )
        name = f"{item.data.name} answered by {data.model}"
        return MixtureItem(data=DataDeclaration(name=name, source={"generate": self.jobs.add(job)}))

    def _curated(self, data: Curated) -> MixtureItem:
        """The job that curates, and one portion of what comes of it."""
        items = [self._item(parent) for parent in data.parents]
        recipe, plugin = self.jobs.recipe, self.bound.owner(type(data.curation))
        judge = recipe.judged_by()["judge"] if isinstance(recipe.judge, Judging) else None
        benchmarks = self._benchmarks() if "benchmarks" in data.curation.needs else {}
        declarer = Declarer(plugin.stamp(), recipe.engine, judge, self.jobs.places, benchmarks)
        model = {} if data.model is None else {"model": self._model(data.model, "likelihoods")}
        declared = declarer.declare(data, items, self.seed)
        job = Job(
            "prepare",
            f"{self.bound.arm.id}: {declared.curator} curates {', '.join(item.data.name for item in items)} "
            f"(seed {self.seed})",
            declared.model_dump(mode="json"),
            parents={**model, **made_parents(items)},
            payload={
                **self.jobs.payload(self.bound),
                "stage": self.stage.name,
                "curated": curated(self.stage).index(data),
            },
        )
        source = {"prepare": self.jobs.add(job), "portion": data.portion}
        return MixtureItem(data=DataDeclaration(name=data.name or default_name(data, items), source=source))

    def _benchmarks(self) -> dict[str, BenchmarkItems]:
        """The run's benchmarks by name."""
        places, wanted = self.jobs.places, chosen(self.jobs.recipe.entries(), self.bound.evaluators())
        return {
            name: BenchmarkDeclarer(plugin.stamp(), places.data_root, places.cache).items(evaluator.task)
            for name, (evaluator, plugin) in wanted.items()
        }
