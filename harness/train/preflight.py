"""What a training stage needs and only its own process can tell, looked at before any weights are read.

What can be told without torch is looked at by `harness.preflight` before the process is started.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harness import preflight
from harness.data.sampling import first
from harness.errors import Refused, UserError
from harness.estimate.model import known
from harness.execution import Execution
from harness.jobs import TrainSettings
from harness.train import acceleration
from harness.train.stagedata import StageData
from harness.train.world import World


def check(data: StageData, world: World) -> None:
    """Raise Refused with everything that stands in the way of the stage; the same on every rank."""
    settings, execution = data.declared.settings, data.context.execution
    _refuse(
        *preflight.declared(settings, execution, penalised=data.loss.penalty is not None),
    )
    _refuse(*_devices(execution, world), *_dtype(settings), *_kernels(execution), *_conversations(data, settings))


def _refuse(*found: UserError) -> None:
    if found:
        raise Refused(found)


def _devices(execution: Execution, world: World) -> Iterator[UserError]:
    promised = execution.world_size
    if world.size != promised:
        yield UserError(
            f"the launcher started {world.size} processes, and {promised} were asked for",
            f"start {promised}, or --set train.processes",
        )
    if torch.cuda.is_available() and world.local_rank >= torch.cuda.device_count():
        yield UserError(
            f"process {world.local_rank} of this node has no GPU: torch sees {torch.cuda.device_count()}",
            f"--set train.processes={torch.cuda.device_count()}",
        )


def _dtype(settings: TrainSettings) -> Iterator[UserError]:
    if settings.dtype != "bfloat16" or not torch.cuda.is_available():
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        yield UserError(f"{torch.cuda.get_device_name()} does not compute in bfloat16", "--set train.dtype=float32")


def _kernels(execution: Execution) -> Iterator[UserError]:
    try:
        acceleration.check(execution)
    except UserError as error:
        yield error


def _conversations(data: StageData, settings: TrainSettings) -> Iterator[UserError]:
    """The tokenizer and its template, tried on a real example of each dataset that lies on this machine."""
    try:
        renderer = data.renderer
    except UserError as error:
        yield error
        return
    model = known(data.start)
    for item in data.declared.mixture:
        name = item.data.name
        example = first(data.data[name], data_root=data.context.data_root) if name in data.data else None
        if example is None:  # it is fetched later, or whoever reads it says what is wrong
            continue
        try:
            ids = renderer.render(example).ids[: settings.max_length]
        except UserError as error:
            yield UserError(f"{name}, example {example.id}: {error.problem}", error.remedy)
            continue
        if model and model.vocabulary and max(ids) >= model.vocabulary:
            yield UserError(
                f"the tokenizer writes token {max(ids)} for {name}, and the model has {model.vocabulary}",
                "choose another model, or --set model.chat_template=tulu",
            )
        if model and model.shape and len(ids) > model.shape.context:
            yield UserError(
                f"an example of {name} has {len(ids)} tokens, and the model's context {model.shape.context}",
                f"--set train.max_length={model.shape.context}",
            )
