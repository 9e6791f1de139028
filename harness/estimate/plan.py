"""Reckoning what a plan will need, before anything starts: tokens, memory, time and disk."""

from __future__ import annotations

from collections.abc import Iterable

from harness.data.resolve import Places
from harness.estimate.figures import ArmEstimate, Estimate, EvaluationEstimate, StageEstimate, Trouble
from harness.estimate.fit import Case, Room, fits, references_of, remedies, room
from harness.estimate.history import History
from harness.estimate.memory import Memory
from harness.estimate.model import Model, known, planned
from harness.estimate.speed import speed
from harness.estimate.tokens import Tokeniser, Tokens, characters_per_token
from harness.inventory import free_disk
from harness.jobs import Job, Train
from harness.plan import ArmPlan, Plan, evaluation_keys
from harness.sharding import faults
from harness.store import Store

_CHECKPOINTS = 2
"""That lie side by side while the newer one is written."""


def estimate(plan: Plan, store: Store, places: Places) -> Estimate:
    """Reckon a plan, from declarations, a few sampled rows and the manifests of the store."""
    return _Reckoner(plan, store, places).run()


class _Reckoner:
    def __init__(self, plan: Plan, store: Store, places: Places) -> None:
        self.plan, self.store = plan, store
        self.history = History.of(store, plan.jobs)
        self.model = self._model(places)
        self.place = room(plan.recipe.train.execution(), plan.recipe.runtime.workers)
        vocabulary = self.model.vocabulary if self.model else None
        self.characters = characters_per_token(vocabulary)
        sources = {name: dataset.source for arm in plan.arms for name, dataset in arm.data.items()}
        self.tokeniser = Tokeniser(self.history, sources, vocabulary, places.data_root, places.cache)

    def run(self) -> Estimate:
        """Everything."""
        arms = tuple(self._arm(arm) for arm in self.plan.arms)
        disk = self._disk(arms)
        return Estimate(
            arms,
            self.model,
            self.place,
            self.plan.recipe.runtime.workers,
            disk,
            (*_too_large(arms, self.place, self.plan), *self._disk_trouble(disk)),
            self.characters,
        )

    def _model(self, places: Places) -> Model | None:
        """As an earlier run prepared it, else as the recipe describes it."""
        for key, job in self.plan.jobs.items():
            if (
                job.kind == "prepare"
                and not job.curates
                and self.store.has(key)
                and (found := known(self.store.folder(key) / "model"))
            ):
                return found
        return planned(self.plan.recipe.model, places.data_root)

    def _arm(self, arm: ArmPlan) -> ArmEstimate:
        count = len(arm.seeds[0].stages)
        stages = tuple(
            tuple(self._stage(seed.stages[i].name, self.plan.jobs[seed.stages[i].key]) for seed in arm.seeds)
            for i in range(count)
        )
        evaluations = tuple(
            tuple(self._evaluation(self.plan.jobs[key]) for key in evaluation_keys(seed)) for seed in arm.seeds
        )
        return ArmEstimate(arm.id, stages, evaluations)

    def _stage(self, name: str, job: Job) -> StageEstimate:
        declared = Train.model_validate(job.declared)
        execution, cached = self.plan.recipe.train.execution(), self.store.has(job.key)
        tokens = self.tokeniser.stage(job.key, declared, self.history.model(job.key))
        case = self._case(declared, tokens, references=references_of(job))
        pace = None
        if self.model is not None and not cached:
            length = tokens.mean if tokens else declared.settings.max_length / 2
            pace = speed(self.history, self.model, declared.settings, execution, length=length, gpu=self.place.gpu)
        need = case.memory(self.place) if case else None
        return StageEstimate(name, job.key, cached, tokens, case, need, pace, execution.world_size)

    def _case(self, declared: Train, tokens: Tokens | None, references: int) -> Case | None:
        model, recipe = self.model, self.plan.recipe
        if model is None or model.shape is None or model.parameters is None:
            return None
        sharding = recipe.train.deepspeed
        if sharding is not None and faults(sharding):  # preflight says what is wrong with it
            return None
        return Case(
            model.shape,
            model.parameters,
            declared.settings,
            recipe.train.execution(),
            recipe.runtime.micro_tokens,
            tokens.mean * declared.settings.batch_size if tokens else None,
            tokens.longest if tokens else 0,
            references,
        )

    def _evaluation(self, job: Job) -> EvaluationEstimate:
        cached = self.store.has(job.key)
        return EvaluationEstimate(job.key, cached, 0.0 if cached else self.history.evaluation_seconds(job))

    def _disk(self, arms: Iterable[ArmEstimate]) -> float | None:
        """Models of all stages to do, and the checkpoints of those that run at once."""
        if self.model is None or self.model.parameters is None:
            return None
        todo = {s.key: s for arm in arms for stage in arm.stages for s in stage if not s.cached}
        models = sum(_saved(self.plan.jobs[key], self.model.parameters) for key in todo)
        at_once = min(len(todo), self.plan.recipe.runtime.workers)
        return models + at_once * checkpoints_bytes(self.model.parameters)

    def _disk_trouble(self, needed: float | None) -> Iterable[Trouble]:
        free = free_disk(self.store.root)
        if needed is not None and needed > free:
            yield Trouble(
                f"the run adds up to ~{needed / 2**30:.1f} GiB to {self.store.root}, where {free / 2**30:.1f} GiB are "
                "free: give --store another place"
            )


def checkpoints_bytes(parameters: int) -> float:
    """Of a stage's checkpoints while the newest is written: weights and both moments in float32."""
    return 12.0 * parameters * _CHECKPOINTS


def _saved(job: Job, parameters: int) -> float:
    width = 2.0 if job.declared["settings"]["dtype"] == "bfloat16" else 4.0
    return width * parameters * len(job.declared["keep"])


def _too_large(arms: Iterable[ArmEstimate], place: Room, plan: Plan) -> Iterable[Trouble]:
    """One warning for stages of one name and need, though many arms may have them."""
    seen: set[tuple[str, int]] = set()
    for arm in arms:
        for stage, *_ in arm.stages:
            if stage.cached or stage.memory is None or stage.case is None or fits(stage.memory, place):
                continue
            gib = round(max(stage.memory.device, stage.memory.host) / 2**30)
            if (stage.name, gib) in seen:
                continue
            seen.add((stage.name, gib))
            shared = plan.recipe.runtime.workers * stage.case.execution.processes
            of = "" if place.gpu or shared == 1 else f" for each of the {shared} processes at once"
            ways = remedies(stage.case, place)
            yield Trouble(
                f"{arm.id}: train {stage.name} needs {needs_words(stage.memory, place)}; "
                f"there are {place.device / 2**30:.0f} GiB{of}{'' if ways else ', and no settings are known that fit'}",
                ways,
            )


def needs_words(need: Memory, place: Room) -> str:
    """`~31 GiB a device`."""
    host = f" and ~{need.host / 2**30:.0f} GiB of the machine's memory" if need.host else ""
    return f"~{need.device / 2**30:.0f} GiB {'a device' if place.gpu else 'a process'}{host}"
