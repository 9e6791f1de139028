"""Whether a stage fits the machine, and the settings with which it would, the least disturbing first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.canonical import Json
from harness.estimate.memory import Memory, Setup, memory
from harness.estimate.shape import Shape
from harness.execution import Execution
from harness.inventory import Gpu, gpus, memory_bytes
from harness.jobs import Job, LoraSettings, TrainSettings
from harness.sharding import Sharding, read_sharding

FEWEST_TOKENS = 256
"""Smaller micro-batches than this are not proposed: they save little and cost much."""


@dataclass(frozen=True)
class Room:
    """What one process of a stage may use."""

    device: int
    """Bytes of a GPU, or this process's share of the machine's memory."""
    gpu: Gpu | None
    host: int
    """Bytes of the machine's memory, where a GPU's process may offload."""

    @property
    def name(self) -> str:
        """What the room is on."""
        return self.gpu.name if self.gpu else "CPU"


def references_of(job: Job) -> int:
    """Frozen models that a training job holds: the base, its Fisher information, and with pairs its own start."""
    return int("base" in job.parents) + int("fisher" in job.parents) + int(job.declared["objective"] == "dpo")


def room(execution: Execution, workers: int) -> Room:
    """This machine's, shared by the processes that train on it at once."""
    host = memory_bytes() // (execution.processes * workers)
    gpu = min(gpus(), key=lambda gpu: gpu.memory, default=None)
    return Room(gpu.memory if gpu else host, gpu, host)


@dataclass(frozen=True)
class Case:
    """A stage as it would be trained."""

    shape: Shape
    parameters: int
    settings: TrainSettings
    execution: Execution
    micro_tokens: int
    step_tokens: float | None = None
    """Tokens of a step on average, where they are known; a micro-batch has no more."""
    longest: int = 0
    """Tokens of the longest example, which has a row of its own."""
    references: int = 0

    def setup(self, device: Gpu | None) -> Setup:
        """As the memory is reckoned from."""
        execution, tokens, accumulates = self.execution, self.micro_tokens, True
        if self.step_tokens is not None:
            share = self.step_tokens * _SPREAD / execution.world_size
            accumulates, tokens = share > tokens, round(min(tokens, share))
        return Setup(
            tokens=max(1, tokens, min(self.longest, self.settings.max_length)),
            dtype=self.settings.dtype,
            device="cuda" if device else "cpu",
            world=execution.world_size,
            accumulates=accumulates,
            checkpointing=execution.gradient_checkpointing,
            lora=self.settings.lora,
            sharding=_sharding(execution.deepspeed),
            references=self.references,
        )

    def memory(self, place: Room) -> Memory:
        """What one process needs."""
        return memory(self.shape, self.parameters, self.setup(place.gpu))


_SPREAD = 1.25
"""Of the tokens of the fullest step over those of the average one."""


@dataclass(frozen=True)
class Remedy:
    """Settings with which a stage fits, and what it needs then."""

    settings: str
    """As for the command line."""
    bytes: float
    same_results: bool


def fits(need: Memory, place: Room) -> bool:
    """Whether a process finds the room it needs."""
    return need.device <= place.device and need.host <= place.host


def remedies(case: Case, place: Room, most: int = 3) -> tuple[Remedy, ...]:
    """Up to `most` ways to make the case fit, those that leave results as they are first."""
    found = []
    for changes in _ways(case, place):
        need = _changed(case, changes).memory(place)
        words = " ".join(f"--set {name}={_written(value)}" for name, value in changes.items())
        found.append(Remedy(words, need.device, same_results="train.lora.rank" not in changes))
        if len(found) == most:
            break
    return tuple(found)


def _ways(case: Case, place: Room) -> Iterator[Mapping[str, Json]]:
    """Changes with which the case fits, one of each kind, the least disturbing kind first."""
    less = {} if case.execution.gradient_checkpointing else {"train.gradient_checkpointing": True}
    devices = max(len(gpus()), case.execution.processes)
    zero = [name for name in ("zero2", "zero3", "zero3_offload") if devices > 1 or name == "zero3_offload"]
    launched = {"train.launcher": "torchrun", "train.processes": devices}
    kinds: list[Mapping[str, Json]] = [
        *([less] if less else []),
        *({**launched, "train.deepspeed": name} for name in (zero if place.gpu else ())),
    ]
    if case.settings.lora is None:
        kinds.append({"train.lora.rank": 16})
    if smaller := _smaller(case, {}, place):
        yield smaller
    for changes in kinds:
        if fits(_changed(case, changes).memory(place), place):
            yield changes
        elif smaller := _smaller(case, {**less, **changes}, place):
            yield smaller


def _smaller(case: Case, besides: Mapping[str, Json], place: Room) -> Mapping[str, Json]:
    """The most micro-tokens with which the case fits; nothing where even the fewest do not."""
    tokens = case.micro_tokens // 2
    while tokens >= FEWEST_TOKENS:
        changes = {**besides, "runtime.micro_tokens": tokens}
        if fits(_changed(case, changes).memory(place), place):
            return changes
        tokens //= 2
    return {}


def _changed(case: Case, changes: Mapping[str, Json]) -> Case:
    execution, settings, tokens = dict[str, Json](), case.settings, case.micro_tokens
    for name, value in changes.items():
        section, _, field = name.partition(".")
        if section == "runtime":
            tokens = value
        elif field == "lora.rank":
            settings = settings.model_copy(update={"lora": LoraSettings(rank=value)})
        else:
            execution[field] = value
    return Case(
        case.shape,
        case.parameters,
        settings,
        case.execution.model_copy(update=execution),
        tokens,
        case.step_tokens,
        case.longest,
        case.references,
    )


def _sharding(name: str | None) -> Sharding | None:
    return None if name is None else read_sharding(name)


def _written(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
