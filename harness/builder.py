"""One arm's steps as jobs: prepare, train, generate, merge, evaluate, each with its parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.api import PRETRAINING, Evaluator, Mixture, Stage, models_behind, starts, with_role
from harness.arms import BoundArm
from harness.armsettings import overridden
from harness.armspec import FALLBACK, ArmSpec
from harness.canonical import Json
from harness.data.mixtures import count
from harness.data.resolve import ArmDatasets, Places, made_parents
from harness.errors import UserError
from harness.evaluate.declare import Declarer
from harness.jobs import (
    Budget,
    Job,
    MixtureItem,
    Respond,
    StageBudget,
    Train,
    TrainSettings,
)
from harness.judge.settings import Judging
from harness.mergers import BASE, FISHER, declare_merge
from harness.mixing import Mixer
from harness.plan import ArmPlan, Evaluation, SeedPlan, StagePlan
from harness.recipe import Recipe, model_of, recipe_of
from harness.startmodel import start_model
from harness.suite import check_groups, chosen


@dataclass
class JobBuilder:
    """Collects jobs while the arms are laid out; the same key is the same job."""

    recipe: Recipe
    places: Places
    data: ArmDatasets
    jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, job: Job) -> str:
        """Plan a job, unless it is planned already; returns its key."""
        self.jobs.setdefault(job.key, job)
        return job.key

    def payload(self, bound: BoundArm) -> dict[str, Json]:
        """How a worker finds the code again: the recipe and the arm. Not part of any key."""
        return {"recipe": recipe_of(self.recipe, bound.spec.data).model_dump(mode="json"), "arm": bound.spec.to_json()}

    # --- one arm ---------------------------------------------------------------------------------------------------

    def arm(
        self, bound: BoundArm, baseline: BoundArm | None, matched: BoundArm | None, budget_of: BoundArm | None = None
    ) -> ArmPlan:
        """All seeds of an arm. What does not depend on the seed (an untrained hub model) is one job for all of them.

        `matched` is the arm whose budget this one has, `budget_of` the one whose budget its baseline has.
        """
        seeds = []
        for seed in self.recipe.seeds:
            stages, merge, model = self.model(bound, seed, matched)
            opponent = None if baseline is None else self.model(baseline, seed, budget_of)[2]
            evaluations = self.evaluations(bound, model, seed, opponent)
            seeds.append(SeedPlan(seed, stages, merge, model, evaluations))
        against, data = None if baseline is None else baseline.arm.id, self.data.of(bound)
        return ArmPlan(bound.arm.id, bound.spec, bound, against, tuple(seeds), {}, data)

    def model(
        self, bound: BoundArm, seed: int, matched: BoundArm | None
    ) -> tuple[tuple[StagePlan, ...], str | None, str]:
        """The stages of one seed, the merge if there is one, and the job whose model comes of them."""
        budget = None if matched is None else self.budget(matched, seed)
        previous = base = self.prepare(bound, seed)
        models, plans = {"base": base}, []
        stages = bound.stages(self.data.infos(bound))
        if stages and self.recipe.engine.name == "endpoint":
            raise UserError(
                f"{bound.arm.id} trains a model, and those behind a server stay as they are",
                "ask them: harness eval NAME@http://HOST/v1 --suite NAME",
            )
        for stage in stages:
            start = previous if stage.start == "previous" else models[stage.start]
            plan = self.train(bound, stage, seed, start=start, models=models, budget=budget)
            models[stage.name] = previous = plan.key
            plans.append(plan)
        merge = self.merge(bound, stages, models, seed)
        return tuple(plans), merge, merge or previous

    def prepare(self, bound: BoundArm, seed: int) -> str:
        """The job that makes or fetches the starting model, and of one made on the spot the one that pretrains it."""
        model = model_of(self.recipe, bound.spec.model)
        if (model.base_url is not None) != (self.recipe.engine.name == "endpoint"):
            raise UserError(
                f"the engine {self.recipe.engine.name} cannot ask {model.id}",
                "models behind a server, NAME@http://HOST/v1, are asked by engine.name=endpoint, and no others",
            )
        start = start_model(model, self.data.shared.values(), seed, self.places.cache)
        payload = {**self.payload(bound), "recipe": self.recipe.model_dump(mode="json")}
        if start.path is not None:
            payload["model_path"] = str(start.path)
        key = self.add(Job("prepare", start.label, start.declared.model_dump(mode="json"), payload=payload))
        changes = None if model.init is None else model.init.pretrain
        return key if changes is None else self.pretrain(key, changes, seed)

    def pretrain(self, start: str, changes: Mapping[str, Json], seed: int) -> str:
        """The job that trains a model made on the spot, the same for all arms. Raises UserError without text for it."""
        bound = self.data.bind(ArmSpec((FALLBACK,), self.recipe.options))
        names = with_role(self.data.infos(bound), PRETRAINING)
        declared = Train(
            mixture=tuple(self.data.shared[name].item for name in names),
            settings=overridden(self.recipe.train.settings(), changes, "model.init.pretrain"),
            loss=bound.makers("loss_fn"),
            seed=seed,
        )
        payload = {**self.payload(bound), "stage": None}
        label = f"pretrain the model (seed {seed})"
        return self.add(Job("train", label, declared.model_dump(mode="json"), {"start": start}, payload))

    def train(
        self, bound: BoundArm, stage: Stage, seed: int, *, start: str, models: Mapping[str, str], budget: Budget | None
    ) -> StagePlan:
        """The job of one stage."""
        if budget is not None:
            self.refuse_early_end(bound, stage)
        mixer, settings = Mixer(self, bound, stage, seed, models), self.settings(bound, stage)
        loss, arms_loss = bound.loss_of(stage), bound.makers("loss_fn")
        own = stage.loss is not None or stage.objective != "sft"
        makers = [*bound.makers("strategy"), {"stage": stage.name}] if own else arms_loss
        declared = Train(
            mixture=mixer.items(),
            settings=settings,
            loss=makers,
            objective=stage.objective,
            keep=stage.keep,
            seed=mixer.seed,
            budget=budget,
        )
        key = self.add(
            Job(
                "train",
                f"{bound.arm.id}: train {stage.name} (seed {seed})",
                declared.model_dump(mode="json"),
                parents={
                    "start": start,
                    **({"base": models["base"]} if "base" in loss.references else {}),
                    **({"fisher": mixer.fisher(loss.fisher, settings.max_length)} if loss.fisher else {}),
                    **made_parents(declared.items()),
                },
                payload={**self.payload(bound), "stage": stage.name},
            )
        )
        defined = {name: value for name, value in stage.train.items() if name not in bound.spec.train}
        names = (maker["plugin"].split()[0] for maker in arms_loss)
        return StagePlan(
            stage.name,
            key,
            total(declared.mixture),
            settings.epochs,
            defined,
            penalised=loss.penalty is not None,
            without=tuple(name for name in names if own and name != FALLBACK),
        )

    def settings(self, bound: BoundArm, stage: Stage) -> TrainSettings:
        """The recipe's settings, with what the method defines and what was set for this arm alone."""
        changes = {**stage.train, **bound.spec.train}
        return overridden(self.recipe.train.settings(), changes, f"stage {stage.name!r} of {bound.arm.id}")

    def budget(self, bound: BoundArm, seed: int) -> Budget:
        """What an arm's stages train on in all."""
        stages = []
        for stage in bound.stages(self.data.infos(bound)):
            self.refuse_early_end(bound, stage)
            settings = self.settings(bound, stage)
            if stage.objective == "dpo" or any(models_behind(data) for data in stage.mixture.items):
                what = "generates" if stage.objective == "sft" else "compares"
                raise UserError(
                    f"match: {self.recipe.match} cannot count what stage {stage.name!r} of {bound.arm.id} {what}",
                    "compare without --set match",
                )
            stages.append(
                StageBudget(
                    mixture=Mixer(self, bound, stage, seed, {}).items(),
                    epochs=settings.epochs,
                    batch_size=settings.batch_size,
                    max_length=settings.max_length,
                )
            )
        unit = "examples" if self.recipe.match == "none" else self.recipe.match
        return Budget(unit=unit, stages=tuple(stages))

    def refuse_early_end(self, bound: BoundArm, stage: Stage) -> None:
        """Raise UserError for a stage that is to train for so long, or to be matched, and may stop before."""
        if self.settings(bound, stage).early_stopping is not None:
            raise UserError(
                f"match: {self.recipe.match} wants so much training and no less, and stage {stage.name!r} "
                f"of {bound.arm.id} may stop early",
                "compare without --set match, or leave train.early_stopping away",
            )

    def merge(self, bound: BoundArm, stages: Sequence[Stage], models: Mapping[str, str], seed: int) -> str | None:
        """The job that merges experts; None where the last stage's model is kept."""
        merge = declare_merge(bound, stages, tuple(models), seed)
        if merge is None:
            return None
        if merge.declared.adapters == "apart":
            self._check_adapters(bound, stages, merge.stages)
        declared, label = merge.declared, f"{bound.arm.id}: {merge.label} (seed {seed})"
        if merge.held_out:
            scored = Stage("held out", Mixture(merge.held_out))
            items = Mixer(self, bound, scored, seed, models).items()
            lengths = [self.settings(bound, stage).max_length for stage in stages]
            declared = declared.model_copy(update={"held_out": items, "max_length": max(lengths)})
        parents = {name: models[name] for name in (*merge.stages, *([BASE] if merge.base else []))}
        parents |= made_parents(declared.held_out)
        if merge.fisher is not None:
            for stage in (stage for stage in stages if stage.name in merge.stages):
                length = self.settings(bound, stage).max_length
                key = Mixer(self, bound, stage, seed, models).stage_fisher(merge.fisher, length)
                parents[f"{FISHER}{stage.name}"] = key
        dumped = declared.model_dump(mode="json")
        return self.add(Job("merge", label, dumped, parents=parents, payload=self.payload(bound)))

    def _check_adapters(self, bound: BoundArm, stages: Sequence[Stage], merged: Sequence[str]) -> None:
        """Adapters can be merged apart where there are some, and all were put on the base."""
        for stage in (stage for stage in stages if stage.name in merged):
            if self.settings(bound, stage).lora is None:
                raise UserError(
                    f"{bound.arm.id} merges the adapters of stage {stage.name!r}, which trains all weights",
                    "--set train.lora={}, or merge whole weights",
                )
            if starts(stages)[stage.name] != BASE:
                raise UserError(
                    f"{bound.arm.id} merges adapters, and those of stage {stage.name!r} were not put on the base",
                    "start it from base, or merge whole weights",
                )

    def evaluations(self, bound: BoundArm, model: str, seed: int, opponent: str | None) -> dict[str, Evaluation]:
        """Benchmark name to the jobs that ask this model and score what it says; `opponent` is the baseline's model."""
        found, wanted = {}, chosen(self.recipe.entries(), bound.evaluators())
        if self.recipe.suite is not None:
            check_groups(self.recipe.suite, tuple(wanted))
        for name, (evaluator, plugin) in wanted.items():
            declarer = Declarer(plugin.stamp(), self.places.data_root, self.places.cache)
            payload = {**self.payload(bound), "benchmark": name}
            draw = seed if bound.spec.model else 0  # several answers of one model, or one of each seed's own model
            declared = declarer.respond(evaluator.task, self.recipe.engine, limit=self.recipe.limit, seed=draw)

            def respond(asked: str, whose: str, declared: Respond = declared, payload: Json = payload) -> str:
                label = f"{bound.arm.id}: ask {whose}"
                return self.add(
                    Job("respond", label, declared.model_dump(mode="json"), parents={"model": asked}, payload=payload)
                )

            parents = {"answers": respond(model, f"{name} (seed {seed})")}
            if evaluator.needs("opponent"):
                parents["opponent"] = respond(opponent or model, f"{name} of the baseline (seed {seed})")
            if evaluator.needs("judge") and self.recipe.judge == "later":
                continue
            scored = declarer.evaluate(evaluator, self._judge(evaluator)).model_dump(mode="json")
            label = f"{bound.arm.id}: evaluate {name} (seed {seed})"
            needs = [need for need in ("judge", "sandbox") if evaluator.needs(need)]
            key = self.add(Job("evaluate", label, scored, parents=parents, payload={**payload, "needs": needs}))
            found[name] = Evaluation(parents["answers"], key)
        return found

    def _judge(self, evaluator: Evaluator) -> Json:
        """Who judges the benchmark, as far as keys are concerned."""
        if not evaluator.needs("judge"):
            return None
        if not isinstance(self.recipe.judge, Judging):
            raise UserError(
                f"{evaluator.name} needs a judge, and the recipe names none",
                "--set judge.model=NAME --set judge.base_url=URL, or --no-judge to answer now and judge later",
            )
        return self.recipe.judged_by()["judge"]


def total(items: Iterable[MixtureItem]) -> int | None:
    """Examples of several items together; None while one of them is unknown."""
    sizes = [count(item) for item in items]
    return None if None in sizes else sum(size for size in sizes if size is not None)
