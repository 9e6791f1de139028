"""What must be right before anything is trained, and can be told without torch: every fault at once, in seconds.

What needs torch, tokenizer or data is looked at by `harness.train.preflight`, first thing in each training job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.api import MergeKit
from harness.errors import UserError
from harness.estimate.figures import Estimate, StageEstimate
from harness.estimate.plan import checkpoints_bytes
from harness.execution import Execution
from harness.files import size_words
from harness.inventory import compiler, free_disk, gpus, ninja
from harness.jobs import TrainSettings
from harness.judge.settings import Judging
from harness.mergekit_methods import check_method
from harness.mergers import BASE
from harness.plan import Plan
from harness.sandbox.sandbox import open_sandbox
from harness.sharding import faults, read_sharding
from harness.store import Store

EXTRAS = {
    "deepspeed": ("deepspeed", "pip install 'instruct-harness[deepspeed]'"),
    "peft": ("peft", "pip install 'instruct-harness[lora]'"),
    "bitsandbytes": ("bitsandbytes", "pip install 'instruct-harness[lora]'"),
    "liger": ("liger_kernel", "pip install 'instruct-harness[liger]'"),
    "tensorboard": ("tensorboard", "pip install 'instruct-harness[tracking]'"),
    "wandb": ("wandb", "pip install 'instruct-harness[tracking]'"),
    "trackio": ("trackio", "pip install 'instruct-harness[tracking]'"),
}
"""What a recipe can ask for besides what is always there: the module, and how to get it."""

NINJA = "pip install ninja"

LAUNCHERS = {"torchrun": "torch", "deepspeed": "deepspeed", "accelerate": "accelerate"}
"""The module that each launcher is part of."""


@dataclass(frozen=True)
class Choice:
    """The attention that a stage will be computed with, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})" if self.why else self.name


def attention(execution: Execution, settings: TrainSettings) -> Choice:
    """As `harness.train.attention` chooses it; a test holds the two together."""
    if execution.layout != "packed":
        return Choice("the model's own attention", "")
    if not gpus():
        return Choice("segment-sdpa", "no GPU")
    if settings.dtype != "bfloat16":
        return Choice("segment-sdpa", f"{settings.dtype} has no faster kernel")
    if find_spec("flash_attn"):
        return Choice("flash-attn", "")
    return Choice("torch-varlen", "flash-attn is not installed")


def chosen(plan: Plan) -> str:
    """`training: torchrun x 2, zero2, float32, segment-sdpa (no GPU), packed`."""
    execution, settings = plan.recipe.train.execution(), plan.recipe.train.settings()
    nodes = f" on {execution.nodes} nodes" if execution.nodes > 1 else ""
    parts = [
        "one process" if execution.launcher == "none" else f"{execution.launcher} x {execution.world_size}{nodes}",
        Path(execution.deepspeed).stem if execution.deepspeed else "",
        "" if settings.lora is None else ("QLoRA" if settings.lora.quantize != "none" else "LoRA"),
        settings.dtype,
        str(attention(execution, settings)),
        execution.layout,
        "checkpointing" if execution.gradient_checkpointing else "",
        "compiled" if execution.compile else "",
        "Liger" if execution.liger else "",
    ]
    return f"training: {', '.join(filter(None, parts))}"


def problems(plan: Plan, store: Store, estimate: Estimate, *, here: bool = True) -> list[UserError]:
    """Everything that stands in the way of what the plan has left to train, to judge and to run of generated programs.

    Not `here` but on machines of a cluster, whose devices and compilers cannot be seen from where the command runs.
    """
    later = [*_merging(plan, store), *([*_judging(plan, store), *_isolation(plan, store)] if here else [])]
    todo = [step for step in estimate.steps if isinstance(step, StageEstimate) and not step.cached]
    if not todo:
        return later
    execution = plan.recipe.train.execution()
    penalised = {stage.key for arm in plan.arms for seed in arm.seeds for stage in seed.stages if stage.penalised}
    faults_of_stages: dict[str, UserError] = {}
    for key in (stage.key for stage in todo):
        settings = TrainSettings.model_validate(plan.jobs[key].declared["settings"])
        faults_of_stages |= {str(error): error for error in declared(settings, execution, penalised=key in penalised)}
    return [
        *(_devices(execution) if here else ()),
        *_launching(execution),
        *faults_of_stages.values(),
        *(_compiling(execution) if here else ()),
        *_disk(plan, store, estimate, todo),
        *later,
    ]


def declared(settings: TrainSettings, execution: Execution, *, penalised: bool = False) -> Iterator[UserError]:
    """What stands in the way of training so, wherever it is done; `penalised` where the loss has a penalty."""
    yield from _sharded(execution)
    yield from _conflicts(settings, execution, penalised=penalised)
    yield from _packages(settings, execution)


def _merging(plan: Plan, store: Store) -> Iterator[UserError]:
    """Whether mergekit does what is asked of it, where it has still to merge."""
    said = set()
    for arm in plan.arms:
        if all(seed.merge is None or store.has(seed.merge) for seed in arm.seeds):
            continue
        infos = {name: dataset.info() for name, dataset in arm.data.items()}
        merger = arm.bound.merger(arm.bound.stages(infos))
        if isinstance(merger, MergeKit):
            try:
                check_method(merger, merger.stages, BASE if merger.base else None)
            except UserError as error:
                if str(error) not in said:
                    said.add(str(error))
                    yield error


def _judging(plan: Plan, store: Store) -> Iterator[UserError]:
    """The judge's key, where answers that nobody has judged yet will have to be."""
    judged = [job for key, job in plan.jobs.items() if job.declared.get("judge") and not store.has(key)]
    if isinstance(plan.recipe.judge, Judging) and not all(store.has(job.parents["answers"]) for job in judged):
        try:
            plan.recipe.judge.read_key()
        except UserError as error:
            yield error


def _devices(execution: Execution) -> Iterator[UserError]:
    if gpus() and execution.processes > len(gpus()):
        yield UserError(
            f"train.processes={execution.processes} are one a GPU, and this machine shows {len(gpus())}",
            f"--set train.processes={len(gpus())}",
        )
    if execution.liger and not gpus():
        yield UserError("train.liger needs a GPU, for which its kernels are compiled", "--set train.liger=false")


def _launching(execution: Execution) -> Iterator[UserError]:
    module = LAUNCHERS.get(execution.launcher)
    if module and find_spec(module) is None:
        remedy = EXTRAS[module][1] if module in EXTRAS else f"pip install {module}"
        yield UserError(f"the launcher {execution.launcher} is not installed", remedy)
    if execution.hostfile and not Path(execution.hostfile).is_file():
        yield UserError(f"there is no hostfile {execution.hostfile}", "correct train.hostfile")


def _sharded(execution: Execution) -> Iterator[UserError]:
    if execution.deepspeed is None:
        return
    if execution.launcher != "deepspeed" and find_spec("deepspeed") is None:
        yield UserError(f"train.deepspeed={execution.deepspeed} needs deepspeed", EXTRAS["deepspeed"][1])
    yield from faults(execution.deepspeed)


def _packages(settings: TrainSettings, execution: Execution) -> Iterator[UserError]:
    wanted = {
        "peft": ("train.lora", settings.lora is not None),
        "bitsandbytes": ("train.lora.quantize", settings.lora is not None and settings.lora.quantize != "none"),
        "liger": ("train.liger", execution.liger),
        "tensorboard": ("train.tracking=tensorboard", execution.tracking == "tensorboard"),
        "wandb": ("train.tracking=wandb", execution.tracking == "wandb"),
        "trackio": ("train.tracking=trackio", execution.tracking == "trackio"),
    }
    for name, (setting, asked) in wanted.items():
        module, remedy = EXTRAS[name]
        if asked and find_spec(module) is None:
            yield UserError(f"{setting} needs {module}", remedy)


def _conflicts(settings: TrainSettings, execution: Execution, *, penalised: bool) -> Iterator[UserError]:
    """What is good alone, and does not go together."""
    if settings.lora is not None and penalised:
        yield UserError(
            "the loss's penalty looks at weights that train.lora leaves frozen",
            "train all weights: leave out train.lora",
        )
    if execution.deepspeed is None or faults(execution.deepspeed):
        return
    if not read_sharding(execution.deepspeed).shards_parameters:
        return
    if penalised:
        yield UserError(
            "the loss's penalty looks at weights that ZeRO-3 holds in shards", "--set train.deepspeed=zero2"
        )
    if settings.lora is not None and settings.lora.quantize != "none":
        yield UserError(
            f"ZeRO-3 cannot shard weights held in {settings.lora.quantize}",
            "--set train.deepspeed=zero2, or --set train.lora.quantize=none",
        )
    if execution.compile:
        yield UserError(
            "train.compile cannot see the weights that ZeRO-3 gathers layer by layer", "--set train.compile=false"
        )


def _compiling(execution: Execution) -> Iterator[UserError]:
    """DeepSpeed builds its operators where it is used: those of a CPU's processes, and Adam for what is offloaded."""
    shared = execution.deepspeed is not None and not gpus() and execution.world_size > 1
    wanted = [
        *(["DeepSpeed on CPU"] if shared else []),
        *(["offloading"] if execution.deepspeed and "offload" in execution.deepspeed else []),
    ]
    for what in [*wanted, *(["train.compile"] if execution.compile else [])]:
        if compiler() is None:
            yield UserError(f"{what} needs a C++ compiler, and there is no g++", "apt-get install g++")
            break
    if wanted and ninja() is None:
        yield UserError(f"{wanted[0]} needs ninja", NINJA)


def _isolation(plan: Plan, store: Store) -> Iterator[UserError]:
    """Whether generated programs can be shut in, where some are still to be run."""
    for arm in plan.arms:
        evaluators = arm.bound.evaluators()
        for seed in arm.seeds:
            for name, evaluation in seed.evaluations.items():
                if evaluators[name][0].needs("sandbox") and not store.has(evaluation.evaluate):
                    try:
                        open_sandbox(allow_unsafe=plan.recipe.runtime.unsafe_code)
                    except UserError as error:
                        yield error
                    return


def _disk(plan: Plan, store: Store, estimate: Estimate, todo: Iterable[StageEstimate]) -> Iterator[UserError]:
    """Room for the models, and for two checkpoints of every stage that runs at once."""
    free = free_disk(store.root)
    if estimate.disk is None or estimate.disk <= free or estimate.model is None:
        return
    stages = list(todo)
    at_once = min(len(stages), plan.recipe.runtime.workers)
    checkpoints = at_once * checkpoints_bytes(estimate.model.parameters or 0)
    yield UserError(
        f"{len(stages)} stages leave models of ~{size_words(estimate.disk - checkpoints)} in {store.root} and need "
        f"~{size_words(checkpoints)} for checkpoints; {size_words(free)} are free",
        "free some space, or give --store another place",
    )
