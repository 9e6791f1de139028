"""From a recipe and the arms' plug-ins to a plan. Its only effect is to read data files, to know their digests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.arms import BoundArm
from harness.armspec import FALLBACK, ArmSpec
from harness.builder import JobBuilder, total
from harness.canonical import Json
from harness.data.mixtures import examples_in
from harness.data.resolve import ArmDatasets, Places
from harness.discovery import SINGLE, load_plugin, suggestion
from harness.errors import UserError
from harness.jobs import Budget, StageBudget
from harness.plan import ArmPlan, Plan
from harness.recipe import Recipe
from harness.settings import Setting
from harness.sharding import configuration
from harness.sweeps import arms_of, check_sweeps, sweeps_of

OFFERS: Mapping[str, tuple[str, str]] = {
    "data_source": ("data", "--set data.ROLE={}"),
    "evaluator": ("benchmarks", "--set benchmarks=[{}]"),
}
"""What a plug-in may offer besides a method, and how a run names it then."""


def _refuse_idle(spec: ArmSpec) -> None:
    """An arm with a plug-in that only offers data or benchmarks would be the arm without it under another name."""
    for plugin in map(load_plugin, spec.methods):
        if not set(SINGLE).intersection(plugin.slots):
            offered = [OFFERS[slot] for slot in plugin.slots]
            written = plugin.path or plugin.plugin.name
            raise UserError(
                f"{plugin.plugin.name!r} changes nothing in an arm: "
                f"it offers {' and '.join(what for what, _ in offered) or 'nothing'}",
                " or ".join(how.format(written) for _, how in offered)
                or f"implement {', '.join(SINGLE[:-1])} or {SINGLE[-1]}",
            )


def choose_arms(
    recipe: Recipe,
    texts: Sequence[str],
    settings: Sequence[Setting],
    sweeps: Sequence[str] = (),
    *,
    baseline: bool,
    factorial: bool,
) -> tuple[ArmSpec, ...]:
    """The arms of a run: the baseline first, then each `--plugins`, with `--factorial` after all its parts.

    Without `texts`, the recipe's own arms. Each arm stands for as many as `sweeps` have values for it.
    """
    wanted = [*([FALLBACK] if baseline else [])]
    for text in texts or recipe.arms:
        wanted += _parts(text) if factorial else [text]
    swept = sweeps_of(recipe, sweeps)
    check_sweeps(swept, wanted, waiting=recipe.sweep if texts else {})
    specs: dict[str, ArmSpec] = {}
    for spec in (spec for text in wanted for spec in arms_of(text, recipe, settings, swept)):
        if specs.setdefault(spec.id, spec) != spec:
            raise UserError(f"two different arms are called {spec.id!r}", "give the plug-in file another PLUGIN.name")
    for spec in specs.values():
        _refuse_idle(spec)
    if not specs:
        raise UserError("the run has no arm", "name one with --plugins, or leave --no-baseline away")
    refuse_unread(settings, recipe, specs.values())
    written = {arm for setting in settings if (arm := setting.arm)}
    plain = {"+".join(sorted(load_plugin(m).plugin.name for m in spec.methods)) for spec in specs.values()}
    for arm in written:
        name = "+".join(sorted(arm.replace(",", "+").split("+")))
        if name not in plain:
            raise UserError(f"--set {arm}:... names no arm of this run", suggestion(name, sorted(plain)))
    return tuple(specs.values())


def refuse_unread(settings: Sequence[Setting], recipe: Recipe, specs: Iterable[ArmSpec]) -> None:
    """A plug-in's option that is set in a run without that plug-in would be passed over without a word.

    Raises UserError that names it.
    """
    names = [name for spec in specs for name in spec.methods]
    taking_part = {load_plugin(name).plugin.name for name in (*names, *recipe.plugin_names())}
    for setting in settings:
        head = setting.path[0]
        if setting.arm is None and head not in Recipe.model_fields and head not in taking_part:
            raise UserError(
                f"--set {'.'.join(setting.path)} changes nothing: {head!r} takes no part in this run",
                f"name it, --plugins {head}, or leave the setting away",
            )


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    sizes = range(1, len(names) + 1)
    return [",".join(parts) for size in sizes for parts in itertools.combinations(names, size)]


def build(recipe: Recipe, arms: Sequence[ArmSpec], places: Places) -> Plan:
    """Lay out every arm's jobs; the arms stay in their order, added baselines come last."""
    if (sharding := recipe.train.execution().deepspeed) is not None:
        configuration(sharding)
    builder = JobBuilder(recipe, places, ArmDatasets.resolved(recipe, arms[0], places))
    bounds = {bound.arm.id: bound for bound in (_bound(spec, builder) for spec in arms)}
    baselines = _choose_baselines(builder, bounds)
    planned = []
    for name, bound in bounds.items():
        baseline = bounds.get(baselines.get(name, ""))
        matched_to = bounds.get(baseline.spec.matched) if baseline else None
        planned.append(builder.arm(bound, baseline, bounds.get(bound.spec.matched), matched_to))
    by_id = {arm.id: arm for arm in planned}
    return Plan(
        recipe,
        builder.data.shared,
        tuple(replace(arm, differs=_differences(arm, by_id.get(arm.baseline or ""))) for arm in planned),
        builder.jobs,
    )


def _bound(spec: ArmSpec, builder: JobBuilder) -> BoundArm:
    """The arm with its plug-ins; one that trains nothing is the same whatever is swept of training and data."""
    bound = builder.data.bind(spec)
    return (
        builder.data.bind(spec.untrained()) if spec.training and not bound.stages(builder.data.infos(bound)) else bound
    )


def _choose_baselines(builder: JobBuilder, bounds: dict[str, BoundArm]) -> dict[str, str]:
    """Arm id to the id of its baseline; adds the baselines with another arm's budget to `bounds` (`match`)."""
    first, *others = bounds.values()
    if first.spec.model:  # models as they are: the first is what the others are compared with
        return {other.arm.id: first.arm.id for other in others}
    plains = [bound for bound in bounds.values() if bound.spec.methods == (FALLBACK,)]
    if not plains:
        return {}
    recipe, chosen = builder.recipe, dict[str, str]()
    for name, bound in [(name, bound) for name, bound in bounds.items() if bound not in plains]:
        alike = (plain for plain in plains if plain.spec.training == bound.spec.training)
        plain = next(alike, plains[0])
        if recipe.match == "none":
            chosen[name] = plain.arm.id
            continue
        budget = builder.budget(bound, recipe.seeds[0])
        if not budget.stages or _same(budget, builder.budget(plain, recipe.seeds[0])):
            chosen[name] = plain.arm.id
            continue
        twins = (b for b in bounds.values() if b.spec.matched and b.spec.training == plain.spec.training)
        twin = next((b for b in twins if builder.budget(bounds[b.spec.matched], recipe.seeds[0]) == budget), None)
        if twin is None:
            twin = builder.data.bind(replace(plain.spec, matched=name))
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
    n = total(stage.mixture)
    return None if n is None else examples_in(n, stage.epochs)


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
    sizes = [None if s.examples is None else examples_in(s.examples, s.epochs) for s in stages]
    return {
        **({"model": arm.spec.model} if arm.spec.model else {}),
        "loss": [maker["plugin"].split()[0] for maker in arm.bound.makers("loss_fn")],
        "stages": [stage.name for stage in stages],
        "examples seen": None if None in sizes else sum(size for size in sizes if size is not None),
        **options,
        **{f"train.{name}": value for name, value in arm.spec.train.items()},
        **{name: value for name, value in arm.spec.own.items() if name.startswith("data.")},
        **{f"{stage.name}.{name}": value for stage in stages for name, value in stage.train.items()},
    }
