"""What to say when a training stage has run out of memory: the estimate, and the settings with which it would fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.estimate.fit import Case, fits, references_of, remedies, room
from harness.estimate.model import known
from harness.execution import Execution
from harness.jobs import Job, Train
from harness.machine import Relief
from harness.recipe import Recipe

_GIB = 2**30
_TOO_LOW = 0.75
"""Where the estimate says that the stage fits, it is off by more than the room left: settings must stay below this
share of it."""


def relief_of(job: Job, parents: Mapping[str, Path]) -> Relief | None:
    """Of a training job whose parents, by their roles, have these folders; None of jobs of other kinds."""
    if job.kind != "train":
        return None
    recipe, declared = Recipe.model_validate(job.payload["recipe"]), Train.model_validate(job.declared)
    runtime, references = recipe.runtime.model_dump(mode="json"), references_of(job)
    return relief(declared, parents["start"] / "model", recipe.train.execution(), runtime, references)


def relief(
    declared: Train, start: Path, execution: Execution, runtime: Mapping[str, Any], references: int = 0
) -> Relief:
    """Of a stage that starts from the model in `start`, and compares with so many frozen ones."""
    workers = runtime.get("workers") or 1
    place = room(execution, workers)
    had = f"it needed more than the {place.device / _GIB:.1f} GiB of {'the GPU' if place.gpu else 'memory'} it may use"
    model = known(start)
    if model is None or model.shape is None or model.parameters is None:
        return Relief(had, "lower --set runtime.micro_tokens; results stay the same")
    settings = declared.settings
    case = Case(
        model.shape,
        model.parameters,
        settings,
        execution,
        runtime.get("micro_tokens") or settings.max_length,
        step_tokens=float(settings.batch_size * settings.max_length),
        references=references,
    )
    need = case.memory(place)
    if fits(need, place):
        place = replace(place, device=int(need.device * _TOO_LOW))
    found = [
        f"{remedy.settings} (about {remedy.bytes / _GIB:.1f} GiB{'' if remedy.same_results else ', another method'})"
        for remedy in remedies(case, place)
    ]
    wanted = f"{had}; the estimate was {need.device / _GIB:.1f} GiB"
    if found:
        return Relief(wanted, f"fits: {', or '.join(found)}")
    return Relief(wanted, "no setting of this machine is known to fit: take a smaller model or a larger machine")
