"""From a recipe and the arms' plug-ins to a plan. Its only effect is to read data files, to know their digests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from harness.api import Answered, Average, Data, Derived, KeepLast, Stage
from harness.arms import FALLBACK, ArmSpec, BoundArm, bind
from harness.canonical import Json, digest, share
from harness.data.facts import file_digest_cached
from harness.data.mixtures import count
from harness.data.resolve import Dataset, Places, datasets, derived_item, made_parents
from harness.data.templates import resolve
from harness.discovery import load_plugin, suggestion
from harness.errors import UserError
from harness.evaluate.declare import declare
from harness.jobs import (
    Budget,
    DataDeclaration,
    Generate,
    Job,
    Merge,
    MixtureItem,
    PrepareModel,
    StageBudget,
    Train,
    TrainSettings,
)
from harness.plan import ArmPlan, Plan, SeedPlan, StagePlan
from harness.recipe import Recipe, arm_spec, overridden
from harness.settings import Setting


def choose_arms(
    recipe: Recipe, texts: Sequence[str], settings: Sequence[Setting], *, baseline: bool, factorial: bool
) -> tuple[ArmSpec, ...]:
    """The arms of a run: the baseline first, then each `--plugins`, with `--factorial` after all its parts."""
    wanted = [*([FALLBACK] if baseline else [])]
    for text in texts:
        wanted += _parts(text) if factorial else [text]
    specs: dict[str, ArmSpec] = {}
    for spec in (arm_spec(text, recipe, settings) for text in wanted):
        if specs.setdefault(spec.id, spec) != spec:
            raise UserError(f"two different arms are called {spec.id!r}", "give the plug-in file another PLUGIN.name")
    if not specs:
        raise UserError("the run has no arm", "name one with --plugins, or leave --no-baseline away")
    written = {arm for setting in settings if (arm := setting.arm)}
    plain = {"+".join(sorted(load_plugin(m).plugin.name for m in spec.methods)) for spec in specs.values()}
    for arm in written:
        name = "+".join(sorted(arm.replace(",", "+").split("+")))
        if name not in plain:
            raise UserError(f"--set {arm}:... names no arm of this run", suggestion(name, sorted(plain)))
    return tuple(specs.values())


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    sizes = range(1, len(names) + 1)
    return [",".join(parts) for size in sizes for parts in itertools.combinations(names, size)]


def build(recipe: Recipe, arms: Sequence[ArmSpec], places: Places) -> Plan:
    """Lay out every arm's jobs; the arms stay in their order, added baselines come last."""
    first = bind(arms[0], recipe.plugin_names())
    builder = _Builder(recipe, places, datasets(recipe, first, places))
    bounds = {spec.id: bind(spec, recipe.plugin_names()) for spec in arms}
    baselines = _choose_baselines(builder, bounds)
    planned = [
        builder.arm(bound, baselines.get(name), bounds.get(bound.spec.matched)) for name, bound in bounds.items()
    ]
    by_id = {arm.id: arm for arm in planned}
    return Plan(
        recipe,
        builder.data,
        tuple(replace(arm, differs=_differences(arm, by_id.get(arm.baseline or ""))) for arm in planned),
        builder.jobs,
    )


def _choose_baselines(builder: _Builder, bounds: dict[str, BoundArm]) -> dict[str, str]:
    """Arm id to the id of its baseline; adds the baselines with another arm's budget to `bounds` (`match`)."""
    plain = next((bound for bound in bounds.values() if bound.spec.methods == (FALLBACK,)), None)
    if plain is None:
        return {}
    recipe, chosen = builder.recipe, dict[str, str]()
    for name, bound in [(name, bound) for name, bound in bounds.items() if bound is not plain]:
        if recipe.match == "none":
            chosen[name] = plain.arm.id
            continue
        budget = builder.budget(bound, recipe.seeds[0])
        if not budget.stages or _same(budget, builder.budget(plain, recipe.seeds[0])):
            chosen[name] = plain.arm.id
            continue
        twin = next(
            (
                b
                for b in bounds.values()
                if b.spec.matched and builder.budget(bounds[b.spec.matched], recipe.seeds[0]) == budget
            ),
            None,
        )
        if twin is None:
            twin = bind(replace(plain.spec, matched=name), recipe.plugin_names())
            bounds[twin.arm.id] = twin
        chosen[name] = twin.arm.id
    return chosen


def _same(one: Budget, other: Budget) -> bool:
    """Whether two budgets are surely equal: the same stages, or equal numbers of examples where those are the unit."""
    sizes = [[_examples(stage) for stage in budget.stages] for budget in (one, other)]
    if one.unit == "examples" and None not in sizes[0] and None not in sizes[1]:
        return sum(filter(None, sizes[0])) == sum(filter(None, sizes[1]))
    return one == other


def _examples(stage: StageBudget) -> int | None:
    n = _total(stage.mixture)
    return None if n is None else int(n * stage.epochs)


def _total(items: Iterable[MixtureItem]) -> int | None:
    sizes = [count(item) for item in items]
    return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass
class _Builder:
    """Collects jobs while the arms are laid out; the same key is the same job."""

    recipe: Recipe
    places: Places
    data: Mapping[str, Dataset]
    jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.infos = {name: dataset.info() for name, dataset in self.data.items()}

    def add(self, job: Job) -> str:
        self.jobs.setdefault(job.key, job)
        return job.key

    def payload(self, bound: BoundArm) -> dict[str, Json]:
        """How a worker finds the code again: the recipe and the arm. Not part of any key."""
        return {"recipe": self.recipe.model_dump(mode="json"), "arm": bound.spec.to_json()}

    # --- one arm ---------------------------------------------------------------------------------------------------

    def arm(self, bound: BoundArm, baseline: str | None, matched: BoundArm | None) -> ArmPlan:
        """All seeds of an arm; where they do not differ in anything (an untrained hub model), one."""
        seeds: list[SeedPlan] = []
        for seed in self.recipe.seeds:
            plan = self.seed(bound, seed, None if matched is None else self.budget(matched, seed))
            if not any(replace(plan, seed=other.seed) == other for other in seeds):
                seeds.append(plan)
        return ArmPlan(bound.arm.id, bound.spec, bound, baseline, tuple(seeds), {})

    def seed(self, bound: BoundArm, seed: int, budget: Budget | None) -> SeedPlan:
        """Model, stages, merge and evaluations of one seed."""
        previous = base = self.prepare(bound, seed)
        models, plans = {"base": base}, []
        stages = bound.stages(self.infos)
        for stage in stages:
            start = previous if stage.start == "previous" else models[stage.start]
            plan = self.train(bound, stage, seed, start=start, models=models, budget=budget)
            models[stage.name] = previous = plan.key
            plans.append(plan)
        merge = self.merge(bound, stages, models, seed)
        model = merge or previous
        return SeedPlan(seed, tuple(plans), merge, model, self.evaluations(bound, model, seed))

    def prepare(self, bound: BoundArm, seed: int) -> str:
        """The job that makes or fetches the starting model."""
        model, payload, content = self.recipe.model, self.payload(bound), None
        if model.chat_template is not None:
            model = model.model_copy(update={"chat_template": resolve(model.chat_template)})
        if model.init is not None:
            label = f"make the {model.init.architecture} model (seed {seed})"
        elif model.id is None:
            raise UserError("the recipe's model has neither an id nor init", "write --set model=ORG/NAME")
        else:
            label = f"fetch {model.id}"
            if Path(model.id).is_dir():
                # A folder is what its files are, wherever it lies.
                content = _folder_digest(Path(model.id), self.places.cache)
                payload["model_path"] = str(Path(model.id).resolve())
                model = model.model_copy(update={"id": None})
        declared = PrepareModel(
            model=model,
            content=content,
            data=tuple(dataset.item for dataset in self.data.values()) if model.init is not None else (),
            seed=seed if model.init is not None else 0,
        )
        return self.add(Job("prepare", label, declared.model_dump(mode="json"), payload=payload))

    def train(
        self, bound: BoundArm, stage: Stage, seed: int, *, start: str, models: Mapping[str, str], budget: Budget | None
    ) -> StagePlan:
        """The job of one stage."""
        items, settings = self.mixture(bound, stage, seed, models), self.settings(bound, stage)
        loss, makers = stage.loss, [*bound.makers("strategy"), {"stage": stage.name}]
        if loss is None:
            loss, makers = bound.loss(), bound.makers("loss_fn")
        declared = Train(
            mixture=items,
            settings=settings,
            loss=makers,
            objective=stage.objective,
            keep=stage.keep,
            seed=seed if stage.seed is None else stage.seed,
            budget=budget,
        )
        key = self.add(
            Job(
                "train",
                f"{bound.arm.id}: train {stage.name} (seed {seed})",
                declared.model_dump(mode="json"),
                parents={
                    "start": start,
                    **({"base": models["base"]} if loss.references else {}),
                    **made_parents(items),
                },
                payload={**self.payload(bound), "stage": stage.name},
            )
        )
        defined = {name: value for name, value in stage.train.items() if name not in bound.spec.train}
        return StagePlan(stage.name, key, _total(items), settings.epochs, defined)

    def mixture(self, bound: BoundArm, stage: Stage, seed: int, models: Mapping[str, str]) -> tuple[MixtureItem, ...]:
        """A stage's data as its job declares it; `models` are the keys of `base` and the stages before."""
        who = f"stage {stage.name!r} of {bound.arm.id}"
        if not stage.mixture.items:
            raise UserError(f"{who} trains on no data", "its mixture must name a dataset")
        seed = seed if stage.seed is None else stage.seed

        def item(data: Data) -> MixtureItem:
            if isinstance(data, Derived):
                return derived_item(item(data.parent), data, seed)
            if isinstance(data, Answered):
                if data.model not in models:
                    raise UserError(f"{who} wants answers of {data.model!r}", suggestion(data.model, tuple(models)))
                return self.generate(bound, item(data.parent), data, seed, models[data.model])
            if data not in self.data:
                raise UserError(f"{who} asks for the dataset {data!r}", suggestion(data, tuple(self.data)))
            return self.data[data].item

        return tuple(item(data) for data in stage.mixture.items)

    def generate(self, bound: BoundArm, item: MixtureItem, data: Answered, seed: int, model: str) -> MixtureItem:
        """The job that answers an item's prompts, and the dataset that comes of it."""
        declared = Generate(
            item=item,
            engine=self.recipe.engine,
            samples=data.samples,
            temperature=data.temperature,
            top_p=data.top_p,
            max_new_tokens=data.max_new_tokens,
            seed=seed,
        )
        job = Job(
            "generate",
            f"{bound.arm.id}: {data.model} answers {item.data.name} (seed {seed})",
            declared.model_dump(mode="json"),
            parents={"model": model, **made_parents([item])},
            payload=self.payload(bound),
        )
        name = f"{item.data.name} answered by {data.model}"
        return MixtureItem(data=DataDeclaration(name=name, source={"generate": self.add(job)}))

    def settings(self, bound: BoundArm, stage: Stage) -> TrainSettings:
        """The recipe's settings, with what the method defines and what was set for this arm alone."""
        changes = {**stage.train, **bound.spec.train}
        return overridden(self.recipe.train, changes, f"stage {stage.name!r} of {bound.arm.id}")

    def budget(self, bound: BoundArm, seed: int) -> Budget:
        """What an arm's stages train on in all."""
        stages = []
        for stage in bound.stages(self.infos):
            settings = self.settings(bound, stage)
            if any(_answerers(data) for data in stage.mixture.items):
                raise UserError(
                    f"match: {self.recipe.match} cannot count what stage {stage.name!r} of {bound.arm.id} generates",
                    "compare without --set match",
                )
            stages.append(
                StageBudget(
                    mixture=self.mixture(bound, stage, seed, {}),
                    epochs=settings.epochs,
                    batch_size=settings.batch_size,
                    max_length=settings.max_length,
                )
            )
        unit = "examples" if self.recipe.match == "none" else self.recipe.match
        return Budget(unit=unit, stages=tuple(stages))

    def merge(self, bound: BoundArm, stages: Sequence[Stage], models: Mapping[str, str], seed: int) -> str | None:
        """The job that merges experts; None where the last stage's model is kept."""
        merger = bound.merger(stages)
        if isinstance(merger, KeepLast):
            _refuse_loose_experts(bound, stages)
            return None
        if not isinstance(merger, Average):
            raise UserError(f"{bound.arm.id} merges by {type(merger).__name__}, which no job does", "return an Average")
        unknown = [name for name in merger.stages if name not in models]
        if unknown or not merger.stages:
            raise UserError(f"{bound.arm.id} merges {unknown or 'nothing'}", suggestion("", [s.name for s in stages]))
        weights = merger.weights or tuple(Fraction(1, len(merger.stages)) for _ in merger.stages)
        if len(weights) != len(merger.stages):
            raise UserError(
                f"{bound.arm.id} merges {len(merger.stages)} stages with {len(weights)} weights",
                "give one weight for each stage",
            )
        declared = Merge(weights=tuple((n, share(w)) for n, w in zip(merger.stages, weights, strict=True)))
        parents = {name: models[name] for name in merger.stages}
        label = f"{bound.arm.id}: average {len(parents)} experts (seed {seed})"
        return self.add(
            Job("merge", label, declared.model_dump(mode="json"), parents=parents, payload=self.payload(bound))
        )

    def evaluations(self, bound: BoundArm, model: str, seed: int) -> dict[str, str]:
        """Benchmark name to the key of its job for this model."""
        keys, offered = {}, bound.evaluators()
        wanted = {name: load_plugin(name) for name in self.recipe.benchmarks}
        for name, plugin in wanted.items():
            if not any(owner is plugin for _, owner in offered.values()):
                raise UserError(f"the plug-in {name!r} offers no benchmark", "take it out of the recipe's benchmarks")
        for name, (evaluator, plugin) in offered.items():
            if plugin not in wanted.values():
                continue
            declared = declare(
                evaluator,
                plugin.stamp(),
                self.recipe.engine,
                data_root=self.places.data_root,
                cache=self.places.cache,
                limit=self.recipe.limit,
                seed=0,
            )
            label = f"{bound.arm.id}: evaluate {name} (seed {seed})"
            payload = {**self.payload(bound), "benchmark": name}
            keys[name] = self.add(
                Job("evaluate", label, declared.model_dump(mode="json"), parents={"model": model}, payload=payload)
            )
        return keys


def _answerers(data: Data) -> list[str]:
    """The models whose answers the data is made of."""
    if isinstance(data, Answered):
        return [data.model, *_answerers(data.parent)]
    return _answerers(data.parent) if isinstance(data, Derived) else []


def _folder_digest(folder: Path, cache: Path | None) -> str:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return digest({path.name: file_digest_cached(path, cache) for path in files})


def _refuse_loose_experts(bound: BoundArm, stages: Sequence[Stage]) -> None:
    starts, previous = set(), "base"
    for stage in stages:
        starts.add(previous if stage.start == "previous" else stage.start)
        starts.update(name for data in stage.mixture.items for name in _answerers(data))
        previous = stage.name
    loose = [stage.name for stage in stages if stage.name not in starts]
    if len(loose) > 1:
        raise UserError(
            f"{bound.arm.id} ends with {len(loose)} experts ({', '.join(loose)}) and nothing merges them",
            "add a plug-in that provides merger",
        )


def _differences(arm: ArmPlan, baseline: ArmPlan | None) -> dict[str, Json]:
    """Every setting in which an arm differs from its baseline; equal settings are not listed."""
    if baseline is None:
        return {}
    mine, theirs = _settings(arm), _settings(baseline)
    return {name: mine.get(name) for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)}


def _settings(arm: ArmPlan) -> dict[str, Json]:
    stages = arm.seeds[0].stages
    options = {
        f"{p.plugin.name}.{name}": value for p in arm.bound.methods() for name, value in arm.bound.options_of(p).items()
    }
    sizes = [None if s.examples is None else int(s.examples * s.epochs) for s in stages]
    return {
        "loss": [maker["plugin"].split()[0] for maker in arm.bound.makers("loss_fn")],
        "stages": [stage.name for stage in stages],
        "examples seen": None if None in sizes else sum(size for size in sizes if size is not None),
        **options,
        **{f"train.{name}": value for name, value in arm.spec.train.items()},
        **{f"{stage.name}.{name}": value for stage in stages for name, value in stage.train.items()},
    }
