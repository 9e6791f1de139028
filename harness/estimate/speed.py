"""How fast a stage will train: as earlier ones did on this machine, else by its peak and an assumed share of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from harness.estimate.history import History
from harness.estimate.model import Model
from harness.estimate.shape import flops_per_token
from harness.execution import Execution
from harness.inventory import Gpu
from harness.jobs import TrainSettings
from harness.peaks import datasheet_peak

ASSUMED_MFU = 0.35
"""Share of the peak that packed training of a model of a billion parameters or more reaches on one GPU."""

_FAR = 4.0
"""A model that many times as large or small says nothing of another's speed."""
_SAME = 1.02


@dataclass(frozen=True)
class Speed:
    """Tokens a second of one run of a stage, all its processes together."""

    tokens_per_second: float
    source: str
    """Where the number comes from, in words."""


def speed(
    history: History, model: Model, settings: TrainSettings, execution: Execution, *, length: float, gpu: Gpu | None
) -> Speed | None:
    """The speed to expect of examples of `length` tokens; None where nothing is known that it would follow from."""
    if model.parameters is None:
        return None
    return _measured(history, model, settings, execution) or _assumed(model, settings, execution, length, gpu)


def _measured(history: History, model: Model, settings: TrainSettings, execution: Execution) -> Speed | None:
    assert model.parameters is not None
    found: list[tuple[float, float]] = []
    for manifest in history.here("train"):
        declared, measured = manifest["declared"]["settings"], manifest["measured"]
        parameters = history.parameters(manifest["key"])
        if parameters is None or not measured.get("tokens_per_second"):
            continue
        if declared["dtype"] != settings.dtype or bool(declared.get("lora")) != bool(settings.lora):
            continue
        if measured.get("execution", Execution().manner()) != execution.manner():
            continue
        found.append((parameters, measured["tokens_per_second"]))
    if not found:
        return None

    def distance(parameters: float) -> float:
        assert model.parameters is not None
        return abs(math.log(parameters / model.parameters))

    nearest = min((parameters for parameters, _ in found), key=distance)
    if distance(nearest) > math.log(_FAR):
        return None
    rate = median(rate for parameters, rate in found if parameters == nearest)
    if distance(nearest) <= math.log(_SAME):
        return Speed(rate, "measured by finished stages")
    return Speed(rate * nearest / model.parameters, f"scaled from finished stages of {nearest / 1e6:.3g}M parameters")


def _assumed(
    model: Model, settings: TrainSettings, execution: Execution, length: float, gpu: Gpu | None
) -> Speed | None:
    peak = peak_tflops(execution, gpu)
    if peak is None or model.parameters is None:
        return None
    flops = flops_per_token(model.shape, model.parameters, length) if model.shape else 6.0 * model.parameters
    if settings.lora is not None:
        flops *= 2 / 3  # the frozen weights get no gradients
    if execution.gradient_checkpointing:
        flops *= 4 / 3
    rate = execution.world_size * peak * 1e12 * ASSUMED_MFU / flops
    return Speed(rate, f"assumes {100 * ASSUMED_MFU:.0f} % of {peak:g} TFLOP/s a device")


def peak_tflops(execution: Execution, gpu: Gpu | None) -> float | None:
    """What the recipe names, or the datasheet of a known GPU; None for a CPU."""
    if execution.peak_tflops is not None or gpu is None:
        return execution.peak_tflops
    return datasheet_peak(gpu.name)
