"""What `run` and `plan` print before anything is done: the arms, their jobs, and what they need."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from harness.canonical import Json
from harness.cli import estimates
from harness.data.mixtures import count
from harness.data.resolve import made_by
from harness.estimate.figures import Estimate
from harness.jobs import MADE, Job, MixtureItem
from harness.plan import ArmPlan, Plan, arm_jobs
from harness.preflight import chosen
from harness.store import SHORT, Store


def show_plan(plan: Plan, store: Store, estimate: Estimate, *, brief: bool) -> None:
    """The methods or models, what each arm does and needs, how much of it is done; `brief` leaves the arms out."""
    console = Console()
    console.print(Text(_compared(plan)))
    finished = sum(store.has(key) for key in plan.jobs)
    seeds = ", ".join(map(str, plan.recipe.seeds))
    console.print(
        Text(f"recipe: {plan.recipe.name}, {_seeds_word(plan)} {seeds}, {len(plan.jobs)} jobs, {finished} in the store")
    )
    console.print(Text(f"answers: {_answers_words(plan)}"))
    if len(plan.arms) > 1:
        console.print(Text(f"sharing: {sharing(plan)}"))
    if any(job.kind == "train" and not store.has(key) for key, job in plan.jobs.items()):
        console.print(Text(chosen(plan)))
    estimates.show_sum(console, estimate)
    if brief:
        return
    estimates.show_grounds(console, estimate)
    for arm, needs in zip(plan.arms, estimate.arms, strict=True):
        console.print()
        _show_arm(console, plan, arm, store)
        estimates.show_arm(console, needs)


def _compared(plan: Plan) -> str:
    if any(arm.spec.model for arm in plan.arms):
        return f"models: {', '.join(arm.id for arm in plan.arms)}"
    methods = {p.plugin.name: p for arm in plan.arms for p in arm.bound.methods()}
    return f"methods: {', '.join(f'{name} {p.plugin.version}' for name, p in sorted(methods.items()))}"


def sharing(plan: Plan) -> str:
    """`7 arms, 44 jobs; 12 are shared, and each arm for itself would take 89`."""
    uses = Counter(key for arm in plan.arms for key in arm_jobs(plan, arm))
    shared = sum(n > 1 for n in uses.values())
    alone = (
        f"; {shared} {'is' if shared == 1 else 'are'} shared, and each arm for itself would take {uses.total()}"
        if shared
        else ""
    )
    return f"{len(plan.arms)} arms, {len(plan.jobs)} jobs{alone}"


def _seeds_word(plan: Plan) -> str:
    return "seed" if len(plan.recipe.seeds) == 1 else "seeds"


def _answers_words(plan: Plan) -> str:
    engine, limit = plan.recipe.engine, plan.recipe.limit
    asked = "every item" if limit is None else f"limit {limit}: the first {limit} items"
    return f"engine {engine.name} in {engine.dtype}, {asked} of each benchmark"


def _show_arm(console: Console, plan: Plan, arm: ArmPlan, store: Store) -> None:
    console.print(Text(arm.id, style="bold"), Text(f"against {arm.baseline}" if arm.baseline else "", style="dim"))
    for name, value in arm.differs.items():
        console.print(Padding(Text(f"{name}: {_words(value)}", style="yellow"), (0, 0, 0, 2)))
    steps = _steps(plan, arm, store)
    width = max(len(step.label) for step in steps)
    seed = f" (seed {arm.seeds[0].seed})" if len(arm.seeds) > 1 else ""
    for step in steps:
        console.print(Text(f"  {step.label:<{width}}  {step.keys[0][:SHORT]}{seed}  {_state(step, store)}"))
        if step.details:
            console.print(Padding(Text(step.details, style="dim"), (0, 0, 0, 6)))


@dataclass(frozen=True)
class _Step:
    label: str
    keys: list[str]
    """Of all seeds, the first one's first."""
    details: str = ""


def _state(step: _Step, store: Store) -> str:
    """`2 jobs to do`, `1 of 2 jobs cached`."""
    keys = set(step.keys)
    held = sum(store.has(key) for key in keys)
    jobs = "1 job" if len(keys) == 1 else f"{len(keys)} jobs"
    return f"{jobs} cached" if held == len(keys) else f"{held} of {jobs} cached" if held else f"{jobs} to do"


def _steps(plan: Plan, arm: ArmPlan, store: Store) -> list[_Step]:
    """All the jobs that the arm needs, in the order in which they are done."""
    steps = _named_steps(plan, arm, store)
    named = {key for step in steps for key in step.keys}
    others: dict[str, list[str]] = {}
    for key in (key for key in plan.jobs if key in arm_jobs(plan, arm) - named):
        others.setdefault(_OTHERS.get(plan.jobs[key].kind, plan.jobs[key].kind), []).append(key)
    return [*(_Step(label, keys) for label, keys in others.items()), *steps]


_OTHERS = {"prepare": "prepare the model", "fisher": "estimate Fisher information", "respond": "ask another model"}
"""What jobs do that belong to no stage of the arm and to no benchmark of it."""


def _named_steps(plan: Plan, arm: ArmPlan, store: Store) -> list[_Step]:
    """Those that make data, train, merge and evaluate."""
    steps = _pretraining(plan, arm)
    for index, stage in enumerate(arm.seeds[0].stages):
        declared = plan.jobs[stage.key].declared
        data = _data_words(plan, declared["mixture"])
        length = (
            f"{stage.epochs:g} epochs"
            if declared["budget"] is None
            else f"the {plan.recipe.match} of {arm.spec.matched}"
        )
        keys = [seed.stages[index].key for seed in arm.seeds]
        steps += [step for step in _making(plan, keys) if step not in steps]
        own = f"; a loss of its own, without {', '.join(stage.without)}" if stage.without else ""
        steps.append(_Step(f"train {stage.name}", keys, f"{data}; {length}{own}{_tokens(store, stage.key)}"))
    merges = [seed.merge for seed in arm.seeds if seed.merge]
    if merges:
        steps.append(_Step("merge", merges, plan.jobs[merges[0]].declared["method"]))
    for name in arm.seeds[0].evaluations:
        of = [seed.evaluations[name] for seed in arm.seeds]
        steps.append(_Step(f"evaluate {name}", [*(e.respond for e in of), *(e.evaluate for e in of)]))
    return steps


def _pretraining(plan: Plan, arm: ArmPlan) -> list[_Step]:
    """Of a model that is made on the spot and pretrained before any arm starts from it."""
    needed = arm_jobs(plan, arm)
    keys = [key for key, job in plan.jobs.items() if key in needed and job.kind == "train" and not job.payload["stage"]]
    if not keys:
        return []
    declared = plan.jobs[keys[0]].declared
    data = _data_words(plan, declared["mixture"])
    return [_Step("pretrain", keys, f"{data}; {declared['settings']['epochs']:g} epochs")]


def _making(plan: Plan, keys: list[str]) -> list[_Step]:
    """The jobs that make the data of these jobs, one a seed, with those that make the data of that first."""
    jobs, steps = [plan.jobs[key] for key in keys], list[_Step]()
    for role in jobs[0].parents:
        if role.startswith(MADE):
            makers = [job.parents[role] for job in jobs]
            steps += [*_making(plan, makers), _made(plan, makers, role.removeprefix(MADE))]
    return steps


def _made(plan: Plan, keys: list[str], name: str) -> _Step:
    job = plan.jobs[keys[0]]
    if not job.curates:
        return _Step("generate", keys, name)
    portions = job.declared["portions"]
    into = f"; portions {', '.join(portions)}" if len(portions) > 1 else ""
    return _Step(f"curate by {_curator(job)}", keys, f"{_data_words(plan, job.declared['items'])}{into}")


def _curator(job: Job) -> str:
    """The plug-in whose curation it is."""
    return str(job.declared["plugin"]).partition(" ")[0]


def _tokens(store: Store, key: str) -> str:
    """Known once a stage has been trained; before that nobody has tokenised its data."""
    manifest = store.manifest(key)
    return f"; {manifest['result']['tokens']:,} tokens" if manifest else ""


def _data_words(plan: Plan, items: Sequence[Json]) -> str:
    return " + ".join(_item_words(plan, item) for item in items)


def _item_words(plan: Plan, item: Json) -> str:
    """`gsm8k (7,473)`, `1/6 of gsm8k: 1,245 of 7,473`, `gsm8k by decontaminate (size unknown)`."""
    data, words = item["data"], []
    for op in reversed(item["ops"]):
        size = op["fraction"] or op["amount"] or ""
        words.append(f"{size} of " if op["op"] == "sample" else f"{op['op']} {size} of ")
    read = MixtureItem.model_validate(item)
    what, taken = f"{''.join(words)}{_name(plan, read)}", count(read)
    if taken is None:
        return f"{what} (size unknown)"
    return f"{what}: {taken:,} of {data['n']:,}" if words else f"{what} ({taken:,})"


def _name(plan: Plan, item: MixtureItem) -> str:
    """As the plan calls the dataset; what a curation made has the plug-in's name in place of the class's."""
    made = plan.jobs.get(made_by(item)[0])
    if made is None or not made.curates:
        return item.data.name
    return item.data.name.replace(f" {made.declared['curation']['class']}", f" by {_curator(made)}")


def _words(value: Json) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(v)}" for name, v in value.items()) or "none"
    if isinstance(value, list):
        return " -> ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "unknown" if value is None else _WHOLE.sub(r"\1", str(value)) or "not set"


_WHOLE = re.compile(r"^(-?\d+)/1$")
"""A fraction that is a whole number."""
