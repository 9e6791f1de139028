"""What an estimate consists of, and how it adds up: stages and evaluations, arms, the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from harness.canonical import Json
from harness.estimate.fit import Case, Remedy, Room
from harness.estimate.memory import Memory
from harness.estimate.model import Model
from harness.estimate.speed import Speed
from harness.estimate.tokens import Tokens

_HOUR = 3600.0


@dataclass(frozen=True)
class Sum:
    """Of numbers some of which may be unknown."""

    known: float
    whole: bool
    """Whether none is unknown."""

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Sum:
        """The known ones, added."""
        listed = list(values)
        return cls(float(sum(value for value in listed if value is not None)), None not in listed)

    @property
    def exact(self) -> float | None:
        """None while a part is unknown."""
        return self.known if self.whole else None


@dataclass(frozen=True)
class StageEstimate:
    """One stage of one seed."""

    name: str
    key: str
    cached: bool
    tokens: Tokens | None
    case: Case | None
    memory: Memory | None
    speed: Speed | None
    devices: int

    @property
    def seconds(self) -> float | None:
        """Training time; 0 where it is done."""
        if self.cached:
            return 0.0
        if self.tokens is None or self.speed is None:
            return None
        return self.tokens.total / self.speed.tokens_per_second

    def to_json(self) -> Json:
        """For `harness plan --json`."""
        return {
            "key": self.key,
            "cached": self.cached,
            "tokens": self.tokens.total if self.tokens else None,
            "tokens_counted": bool(self.tokens and self.tokens.counted),
            "memory_bytes": asdict(self.memory) if self.memory else None,
            "tokens_per_second": self.speed.tokens_per_second if self.speed else None,
            "speed_from": self.speed.source if self.speed else None,
            "seconds": self.seconds,
            "devices": self.devices,
        }


@dataclass(frozen=True)
class EvaluationEstimate:
    """All benchmarks of one model."""

    key: str
    cached: bool
    seconds: float | None


@dataclass(frozen=True)
class ArmEstimate:
    """One arm: its stages and evaluations, seed by seed."""

    id: str
    stages: tuple[tuple[StageEstimate, ...], ...]
    """Stage by stage, one for each seed."""
    evaluations: tuple[tuple[EvaluationEstimate, ...], ...]
    """Seed by seed."""

    @property
    def steps(self) -> Iterable[StageEstimate | EvaluationEstimate]:
        """All of them."""
        return (*(step for stage in self.stages for step in stage), *(e for seed in self.evaluations for e in seed))

    @property
    def seconds(self) -> Sum:
        """Of what is left to do, one job after the other."""
        return Sum.of(step.seconds for step in self.steps)

    @property
    def device_hours(self) -> Sum:
        """Of what is left to do."""
        return Sum.of(map(_device_hours, self.steps))


@dataclass(frozen=True)
class Trouble:
    """A stage or a run that will not fit, and what would."""

    problem: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A whole run's."""

    arms: tuple[ArmEstimate, ...]
    model: Model | None
    place: Room
    workers: int
    disk: float | None
    """Bytes that the run adds to the store at most."""
    troubles: tuple[Trouble, ...]
    characters_per_token: float

    @property
    def steps(self) -> list[StageEstimate | EvaluationEstimate]:
        """Every job once, though several arms may share it."""
        return list({step.key: step for arm in self.arms for step in arm.steps}.values())

    @property
    def device_hours(self) -> Sum:
        """Of all that is left to do."""
        return Sum.of(map(_device_hours, self.steps))

    @property
    def seconds(self) -> Sum:
        """As the workers share it evenly."""
        total = Sum.of(step.seconds for step in self.steps)
        return Sum(total.known / self.workers, total.whole)

    @property
    def sources(self) -> list[str]:
        """Where the speeds come from."""
        steps = [step for step in self.steps if isinstance(step, StageEstimate) and not step.cached]
        return sorted({step.speed.source for step in steps if step.speed})

    def to_json(self) -> Json:
        """For `harness plan --json`."""
        return {
            "device": self.place.name,
            "device_bytes": self.place.device,
            "parameters": self.model.parameters if self.model else None,
            "device_hours": self.device_hours.exact,
            "seconds": self.seconds.exact,
            "disk_bytes": self.disk,
            "arms": {
                arm.id: {
                    "device_hours": arm.device_hours.exact,
                    "stages": {seeds[0].name: [seed.to_json() for seed in seeds] for seeds in arm.stages},
                    "evaluation_seconds": [Sum.of(e.seconds for e in seed).exact for seed in arm.evaluations],
                }
                for arm in self.arms
            },
            "warnings": [
                {"problem": t.problem, "remedies": [asdict(remedy) for remedy in t.remedies]} for t in self.troubles
            ],
        }


def _device_hours(step: StageEstimate | EvaluationEstimate) -> float | None:
    devices = step.devices if isinstance(step, StageEstimate) else 1
    return None if step.seconds is None else step.seconds * devices / _HOUR
