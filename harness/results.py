"""From a finished plan to what the board is told: every fact read from the store's manifests, none made up here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from harness.api import Total
from harness.api.benchmarks import Need
from harness.board.inputs import (
    ArmRun,
    DataRecord,
    EvaluateRun,
    GitState,
    MergeRun,
    PluginRecord,
    RunInfo,
    SeedRun,
    TrainRun,
)
from harness.board.numbers import DeclaredSuite
from harness.canonical import Json, canonical
from harness.data.resolve import made_by
from harness.discovery import LoadedPlugin
from harness.errors import Failure
from harness.jobs import Job, MixtureItem
from harness.plan import ArmPlan, Plan, SeedPlan
from harness.store import SHORT, Store

MODEL_FACTS = ("commit", "template_digest", "parameters")
"""What a row says of the starting model beside what the recipe declares."""


def arm_runs(plan: Plan, store: Store) -> list[ArmRun]:
    """What each arm's jobs left in the store. Raises Failure where one of them is not there."""
    return [_arm_run(arm, plan, store) for arm in plan.arms]


def _arm_run(arm: ArmPlan, plan: Plan, store: Store) -> ArmRun:
    return ArmRun(
        id=arm.id,
        plugins=tuple(_plugin(loaded, arm) for loaded in arm.bound.plugins),
        seeds=tuple(_seed_run(arm, seed, plan, store) for seed in arm.seeds),
        data=_data(arm, plan, store),
        baseline=arm.baseline,
        match=f"{plan.recipe.match} of {arm.spec.matched}" if arm.spec.matched else None,
        model=_model(arm.seeds[0].model, plan, store) if arm.spec.model else None,
        differs=arm.differs,
    )


def _plugin(loaded: LoadedPlugin, arm: ArmPlan) -> PluginRecord:
    kind = loaded.plugin.options
    defaults = kind().model_dump(mode="json") if kind else {}
    options = {name: v for name, v in arm.bound.options_of(loaded).items() if v != defaults[name]}
    distribution = None if loaded.path else f"{loaded.distribution} {loaded.distribution_version}"
    return PluginRecord(loaded.plugin.name, loaded.plugin.version, distribution, loaded.digest, options)


def _data(arm: ArmPlan, plan: Plan, store: Store) -> tuple[DataRecord, ...]:
    """The datasets that the arm's stages read, each once, and what those are made of that jobs of the plan made."""
    roles = {name: dataset.role for name, dataset in arm.data.items()}
    todo = [item for stage in arm.seeds[0].stages for item in plan.jobs[stage.key].declared["mixture"]]
    records: dict[str, DataRecord] = {}
    while todo:
        item = MixtureItem.model_validate(todo.pop(0))
        data = item.data
        key, file = made_by(item)
        if data.name in records:
            continue
        if not file:
            role = roles.get(data.name, "generated")
            records[data.name] = DataRecord(data.name, data.source, data.content, data.n, role)
            continue
        job = plan.jobs[key]
        result = _manifest(store, job)["result"]
        n, content = result["examples"], result["content"]
        if job.curates:
            n, content = (of[data.source["portion"]] for of in (n, content))
        role = "curated" if job.curates else "generated"
        records[data.name] = DataRecord(data.name, data.source, content, n, role)
        todo += job.declared["items"] if job.curates else [job.declared["item"]]
    return tuple(records.values())


def _seed_run(arm: ArmPlan, seed: SeedPlan, plan: Plan, store: Store) -> SeedRun:
    evaluators = arm.bound.evaluators()
    evaluations = {}
    for name, planned in seed.evaluations.items():
        evaluator, _ = evaluators[name]
        manifest = _manifest(store, plan.jobs[planned.evaluate])
        asked = _manifest(store, plan.jobs[planned.respond])
        evaluations[name] = EvaluateRun(
            key=planned.evaluate,
            protocol=evaluator.protocol,
            folder=store.folder(planned.evaluate),
            score_name=evaluator.task.score,
            result=manifest["result"],
            measured=manifest["measured"],
            respond_key=planned.respond,
            respond_measured=asked["measured"],
            higher_is_better=evaluator.higher_is_better,
            total=evaluator.aggregate if isinstance(evaluator.aggregate, Total) else None,
            out_of=evaluator.out_of,
            needs=tuple(need for need in get_args(Need) if evaluator.needs(need)),
        )
    train = []
    for stage in seed.stages:
        manifest = _manifest(store, plan.jobs[stage.key])
        train.append(TrainRun(stage.name, stage.key, manifest["result"], manifest["measured"]))
    merge = None
    if seed.merge is not None:
        job = plan.jobs[seed.merge]
        manifest = _manifest(store, job)
        weights = manifest["result"].get("shares") or dict(job.declared["weights"])
        merge = MergeRun(seed.merge, job.declared["method"], weights, manifest["measured"])
    return SeedRun(seed.seed, evaluations, tuple(train), merge)


def _manifest(store: Store, job: Job) -> dict[str, Any]:
    manifest = store.manifest(job.key)
    if manifest is None:
        raise Failure(f"job {job.key[:SHORT]} ({job.label}) is not in the store", "run the same command again")
    return manifest


def run_info(plan: Plan, store: Store, command: str, *, accepted_source: bool) -> RunInfo:
    """What all arms share: the recipe, and what its jobs ran with and on."""
    recipe, done = plan.recipe, {key: _manifest(store, job) for key, job in plan.jobs.items()}
    prepared = next(key for key, job in plan.jobs.items() if job.kind == "prepare" and not job.curates)
    measured = [manifest["measured"] for manifest in done.values()]
    packages = _found([of["packages"] for of in measured])
    hardware = _found([of["hardware"] for of in measured])
    return RunInfo(
        recipe=_shared(plan, prepared),
        suite=_suite(plan),
        model=_model(prepared, plan, store),
        engine=recipe.engine.model_dump(mode="json"),
        command=command,
        git=_git([of["git"] for of in measured if of["git"] is not None]),
        packages={name: " and ".join(versions) for name, versions in packages.items()},
        hardware={name: of[0] if len(of) == 1 else of for name, of in hardware.items()},
        limit=recipe.limit,
        accepted_source=accepted_source,
    )


def _suite(plan: Plan) -> DeclaredSuite:
    """The suite as it was declared; a recipe that names benchmarks instead lends them its own name."""
    recipe = plan.recipe
    waiting = {name: (evaluator.protocol, evaluator.task.score) for name, evaluator in plan.waiting.items()}
    if recipe.suite is None:
        return DeclaredSuite(name=recipe.name, left_out=waiting)
    suite = recipe.suite
    return DeclaredSuite(name=suite.name, version=suite.version, groups=dict(suite.composite.groups), left_out=waiting)


def _model(prepared: str, plan: Plan, store: Store) -> Json:
    """A starting model as it was found: what it holds, and not where it lay."""
    job = plan.jobs[prepared]
    facts = {name: value for name, value in _manifest(store, job)["result"].items() if name in MODEL_FACTS}
    return {**_declared_model(job), **facts}


def _declared_model(job: Job) -> dict[str, Json]:
    return {**job.declared["model"], "content": job.declared["content"]}


def _shared(plan: Plan, prepared: str) -> dict[str, Json]:
    """The recipe with its model and data as they were found: what they hold, and not where they lay.

    Arms with models of their own have none in common, and nothing is trained: any such run of a suite is comparable.
    """
    apart = dict.fromkeys(("runtime", "slurm", "seeds", "limit", "match", "data", "judge"), True)
    shared = plan.recipe.model_dump(mode="json", exclude={**apart, "suite": {"summary"}})
    if plan.waiting or any(
        job.declared.get("judge") for job in plan.jobs.values()
    ):  # a judge whom nobody asked is none
        shared |= plan.recipe.judged_by()
    data: dict[str, list[Json]] = {}
    for dataset in plan.data.values():
        data.setdefault(dataset.role, []).append(dataset.item.model_dump(mode="json", exclude={"data": {"plugin"}}))
    if any(arm.spec.model for arm in plan.arms):
        return {name: value for name, value in shared.items() if name != "train"}
    return {**shared, "model": _declared_model(plan.jobs[prepared]), "data": data}


def _found(records: Sequence[Mapping[str, Json]]) -> dict[str, list[Json]]:
    """By name the values that the records hold, each once: where jobs of one run differ, all are shown."""
    texts: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.items():
            texts.setdefault(name, set()).add(canonical(value))
    return {name: [json.loads(text) for text in sorted(found)] for name, found in sorted(texts.items())}


def _git(states: Sequence[Mapping[str, Json]]) -> GitState | None:
    """The checkouts that the jobs ran from, as one: dirty where one of them was."""
    if not states:
        return None
    commits = sorted({state["commit"] for state in states})
    return GitState(commit=" and ".join(commits), dirty=any(state["dirty"] for state in states))
