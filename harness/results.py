"""From a finished plan to what the board is told: every fact read from the store's manifests, none made up here."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

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
from harness.canonical import Json
from harness.discovery import LoadedPlugin
from harness.errors import Failure
from harness.jobs import Job
from harness.plan import ArmPlan, Plan, SeedPlan
from harness.store import SHORT, Store


def arm_runs(plan: Plan, store: Store) -> list[ArmRun]:
    """What each arm's jobs left in the store. Raises Failure where one of them is not there."""
    return [_arm_run(arm, plan, store) for arm in plan.arms]


def _arm_run(arm: ArmPlan, plan: Plan, store: Store) -> ArmRun:
    return ArmRun(
        id=arm.id,
        plugins=tuple(_plugin(loaded, arm) for loaded in arm.bound.plugins),
        seeds=tuple(_seed_run(arm, seed, plan, store) for seed in arm.seeds),
        data=_data(arm, plan),
        baseline=arm.baseline,
        match=f"{plan.recipe.match} of {arm.spec.matched}" if arm.spec.matched else None,
        differs=arm.differs,
    )


def _plugin(loaded: LoadedPlugin, arm: ArmPlan) -> PluginRecord:
    kind = loaded.plugin.options
    defaults = kind().model_dump(mode="json") if kind else {}
    options = {name: v for name, v in arm.bound.options_of(loaded).items() if v != defaults[name]}
    distribution = None if loaded.path else f"{loaded.distribution} {loaded.distribution_version}"
    return PluginRecord(loaded.plugin.name, loaded.plugin.version, distribution, loaded.digest, options)


def _data(arm: ArmPlan, plan: Plan) -> tuple[DataRecord, ...]:
    """The datasets that the arm's stages read, each once."""
    roles = {name: dataset.role for name, dataset in plan.data.items()}
    records = {}
    for stage in arm.seeds[0].stages:
        for item in plan.jobs[stage.key].declared["mixture"]:
            data = item["data"]
            role = roles.get(data["name"], "generated")
            records[data["name"]] = DataRecord(data["name"], data["source"], data["content"], data["n"], role)
    return tuple(records.values())


def _seed_run(arm: ArmPlan, seed: SeedPlan, plan: Plan, store: Store) -> SeedRun:
    evaluators = arm.bound.evaluators()
    evaluations = {}
    for name, key in seed.evaluations.items():
        evaluator, _ = evaluators[name]
        manifest = _manifest(store, plan.jobs[key])
        evaluations[name] = EvaluateRun(
            key=key,
            protocol=evaluator.protocol,
            folder=store.folder(key),
            score_name=f"{evaluator.task.metric},{evaluator.task.filter}",
            result=manifest["result"],
            measured=manifest["measured"],
            higher_is_better=evaluator.higher_is_better,
        )
    train = []
    for stage in seed.stages:
        manifest = _manifest(store, plan.jobs[stage.key])
        train.append(TrainRun(stage.name, stage.key, manifest["result"], manifest["measured"]))
    merge = None
    if seed.merge is not None:
        job = plan.jobs[seed.merge]
        weights = dict(job.declared["weights"])
        merge = MergeRun(seed.merge, job.declared["method"], weights, _manifest(store, job)["measured"])
    return SeedRun(seed.seed, evaluations, tuple(train), merge)


def _manifest(store: Store, job: Job) -> dict[str, Any]:
    manifest = store.manifest(job.key)
    if manifest is None:
        raise Failure(f"job {job.key[:SHORT]} ({job.label}) is not in the store", "run the same command again")
    return manifest


def run_info(plan: Plan, store: Store, command: str, *, accepted_source: bool) -> RunInfo:
    """What all arms share: the recipe, and what it ran with and on."""
    recipe = plan.recipe
    shared = recipe.model_dump(mode="json", exclude={"runtime", "seeds", "options", "limit", "match"})
    prepared = next(job for job in plan.jobs.values() if job.kind == "prepare")
    declared, result = prepared.declared, _manifest(store, prepared)["result"]
    shared["model"] = {**declared["model"], "content": declared["content"]}
    model = {**shared["model"], **{k: v for k, v in result.items() if k in {"commit", "template_digest", "parameters"}}}
    return RunInfo(
        recipe=shared,
        suite=recipe.name,
        model=model,
        engine=recipe.engine.model_dump(mode="json"),
        command=command,
        git=git_state(),
        packages=_packages(plan, store),
        hardware=hardware(),
        limit=recipe.limit,
        accepted_source=accepted_source,
    )


def _packages(plan: Plan, store: Store) -> Mapping[str, str]:
    """Versions that the jobs ran with; where jobs of one run differ, both are shown."""
    seen: dict[str, set[str]] = {}
    for job in plan.jobs.values():
        for name, version in _manifest(store, job)["measured"]["packages"].items():
            seen.setdefault(name, set()).add(version)
    return {name: " and ".join(sorted(versions)) for name, versions in sorted(seen.items())}


def git_state() -> GitState | None:
    """The checkout that this code lies in; None where it was installed from a wheel."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True)  # noqa: S607
        return done.stdout.strip()

    try:
        return GitState(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, Json]:
    """Processor, memory and system; accelerators are recorded by the jobs that used them."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
