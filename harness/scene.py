"""A job's code and data, found again from what travels with the job: in its worker, and in every rank of a launch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.api import Curation, DataSource, Loss, Merger, Stage
from harness.api.nodes import curated
from harness.arms import BoundArm, bind
from harness.armspec import ArmSpec
from harness.canonical import Json, canonical
from harness.data.resolve import Dataset, Places, datasets, made_sources
from harness.jobs import Job, MixtureItem
from harness.judge.settings import Judging
from harness.recipe import Recipe, model_of


@dataclass
class Scene:
    """A job's code and data, found again from its payload."""

    job: Job
    places: Places

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the plan was made from."""
        return Recipe.model_validate(self.job.payload["recipe"])

    @cached_property
    def bound(self) -> BoundArm:
        """The arm that the job belongs to (one of them, where several share it)."""
        return bind(ArmSpec.from_json(self.job.payload["arm"]), self.recipe.plugin_names())

    @property
    def base_url(self) -> str | None:
        """Address of the server that has the arm's model; None for a model of files."""
        return model_of(self.recipe, self.bound.spec.model).base_url

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The recipe's datasets by name."""
        return datasets(self.recipe, self.bound, self.places)

    @property
    def sources(self) -> dict[str, DataSource]:
        """Where their rows come from."""
        return {name: dataset.source for name, dataset in self.datasets.items()}

    def sources_of(self, items: Iterable[MixtureItem], parents: Mapping[str, Path]) -> dict[str, DataSource]:
        """Where the rows of a job's data come from; `parents` are the folders of jobs that made some of it."""
        return {**self.sources, **made_sources(items, parents)}

    @property
    def judging(self) -> Judging | None:
        """The recipe's judge, where somebody is named."""
        judge = self.recipe.judge
        return judge if isinstance(judge, Judging) else None

    def loss(self) -> Loss:
        """The loss of the job's stage: its own, or the arm's. What pretrains is no stage of any arm."""
        return self.bound.loss() if self.job.payload["stage"] is None else self.bound.loss_of(self.stage())

    def curation(self) -> Curation:
        """The curation that the job does."""
        number: int = self.job.payload["curated"]
        return curated(self.stage())[number].curation

    def stage(self) -> Stage:
        """The stage that the job is done for, or the first of them."""
        return next(stage for stage in self.stages if stage.name == self.job.payload["stage"])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Of the arm."""
        return self.bound.stages({name: dataset.info() for name, dataset in self.datasets.items()})

    def merger(self) -> Merger:
        """What becomes of the stages' models."""
        return self.bound.merger(self.stages)

    def plugins(self) -> list[Json]:
        """Provenance of the plug-ins that take part in the job: those that its declaration names."""
        text = canonical(self.job.declared)
        return [p.provenance() for p in self.bound.plugins if f'"{p.plugin.name} {p.plugin.version}' in text]
