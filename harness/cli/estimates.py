"""What `plan` and `run` print of a plan's estimate: a table for each arm, a sum, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.estimate.figures import ArmEstimate, Estimate, StageEstimate, Sum, Trouble
from harness.files import size_words

UNKNOWN = "unknown"
_KILO, _MINUTE, _HOUR, _DAY = 1000.0, 60.0, 3600.0, 86400.0
_INDENT = (0, 0, 0, 2)


def show_arm(console: Console, arm: ArmEstimate) -> None:
    """The arm's stages, evaluations and sum, in 60 columns; an arm without work has no table."""
    if not arm.stages and not any(arm.evaluations):
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("estimate", overflow="fold")
    for column in ("tokens", "memory", "time", "device-hours"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = [*map(_stage_row, arm.stages), *_evaluation_row(arm)]
    for row in rows:
        table.add_row(*row.cells())
    if len(rows) > 1:
        sums = _sum(arm.seconds, duration), _sum(arm.device_hours, hours)
        table.add_row(*map(_strong, ("in all", "", "", *sums)))
    console.print(Padding(table, _INDENT, expand=False))


def show_sum(console: Console, estimate: Estimate) -> None:
    """One line for the run, what it rests on, and warnings."""
    console.print(Text(f"estimate: {sum_words(estimate)}"))
    for trouble in estimate.troubles:
        show_trouble(console, trouble)


def show_grounds(console: Console, estimate: Estimate) -> None:
    """What the estimates rest on."""
    for ground in _grounds(estimate):
        console.print(Padding(Text(ground, style="dim"), _INDENT, expand=False))


def show_trouble(console: Console, trouble: Trouble) -> None:
    """What does not fit, and the settings that would."""
    console.print(Text(f"warning: {trouble.problem}", style="yellow"))
    for remedy in trouble.remedies:
        changes = "" if remedy.same_results else "; another method, with results of its own"
        fits = Text(f"fits: {remedy.settings}  (~{size_words(remedy.bytes)}{changes})")
        console.print(Padding(fits, _INDENT, expand=False))


def sum_words(estimate: Estimate) -> str:
    """`~0.31 device-hours, ~12 min on CPU; 1.2M parameters; up to ~80 MiB of disk`."""
    steps = estimate.steps
    if all(step.cached for step in steps):
        return "nothing is left to train or to evaluate"
    model = estimate.model
    parameters = f"{count(model.parameters)} parameters" if model and model.parameters else "the model is not known yet"
    if estimate.seconds.known:
        spent, passes = _sum(estimate.device_hours, hours), _sum(estimate.seconds, duration)
        rest = "" if estimate.seconds.whole else ", the rest unknown"
        time = f"{spent} device-hours, {passes} on {estimate.place.name}{rest}"
    else:
        time = "time unknown"
    disk = f", up to ~{size_words(estimate.disk)} of disk" if estimate.disk else ""
    return f"{time}, {parameters}{disk}"


def _grounds(estimate: Estimate) -> Iterable[str]:
    stages = [step for step in estimate.steps if isinstance(step, StageEstimate) and not step.cached]
    if any(stage.tokens and not stage.tokens.counted for stage in stages):
        yield f"tokens: those with ~ by sampled rows and {estimate.characters_per_token:.1f} characters a token"
    if estimate.model is None:
        yield "memory and time: unknown until the model is fetched"
    elif any(stage.memory is None for stage in stages):
        yield "memory: this architecture is not reckoned"
    if estimate.sources:
        yield f"speed: {', '.join(estimate.sources)}"
    elif estimate.model is not None and stages:
        yield "speed: unknown until a stage has been trained here, or train.peak_tflops is given"


# --- rows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    name: str
    tokens: str
    memory: str
    todo: tuple[float | None, ...]
    """Seconds of each seed that is not done."""
    seeds: int
    devices: int = 1

    def cells(self) -> tuple[Text, ...]:
        if not self.todo:
            return tuple(map(_faint, (self.name, self.tokens, self.memory, "cached", "0")))
        total = Sum.of(self.todo)
        if not total.whole:
            time = spent = UNKNOWN
        else:
            times = f"{len(self.todo)} x " if self.seeds > 1 else ""
            time = f"{times}~{duration(total.known / len(self.todo))}"
            spent = f"~{hours(total.known * self.devices / _HOUR)}"
        return tuple(map(Text, (self.name, self.tokens, self.memory, time, spent)))


def _stage_row(seeds: tuple[StageEstimate, ...]) -> _Row:
    first = next((stage for stage in seeds if not stage.cached), seeds[0])
    tokens = UNKNOWN if first.tokens is None else f"{'' if first.tokens.counted else '~'}{count(first.tokens.total)}"
    need = UNKNOWN if first.memory is None else f"~{size_words(first.memory.device)}"
    todo = tuple(stage.seconds for stage in seeds if not stage.cached)
    return _Row(first.name, tokens, need, todo, len(seeds), first.devices)


def _evaluation_row(arm: ArmEstimate) -> list[_Row]:
    if not any(arm.evaluations):
        return []
    left = [[e.seconds for e in seed if not e.cached] for seed in arm.evaluations]
    todo = tuple(Sum.of(seed).exact for seed in left if seed)
    return [_Row("evaluation", "", "", todo, len(arm.evaluations))]


def _sum(total: Sum, words: Callable[[float], str]) -> str:
    """`~12 min`; `>12 min` where a part is unknown."""
    if not total.known:
        return "0" if total.whole else UNKNOWN
    return f"{'~' if total.whole else '>'}{words(total.known)}"


def _strong(text: str) -> Text:
    return Text(text, style="bold")


def _faint(text: str) -> Text:
    return Text(text, style="dim")


# --- numbers -------------------------------------------------------------------------------------------------------


def count(n: float) -> str:
    """`812`, `56.1k`, `1.2M`, `7.24B`: three digits."""
    for unit in ("", "k", "M", "B"):
        if abs(n) < _KILO - 0.5 or unit == "B":
            return f"{n:.0f}" if not unit else f"{n:.3g}{unit}"
        n /= _KILO
    raise AssertionError


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`, `2.1 d`."""
    for limit, unit, width in ((2 * _MINUTE, "s", 1.0), (2 * _HOUR, "min", _MINUTE), (2 * _DAY, "h", _HOUR)):
        if seconds < limit:
            n = max(1.0, seconds / width)
            return f"{n:.0f} {unit}" if n >= 10 or unit == "s" else f"{n:.1f} {unit}"  # noqa: PLR2004
    return f"{seconds / _DAY:.1f} d"


def hours(n: float) -> str:
    """`0.031`, `12.4`."""
    return f"{n:.2g}" if n < 1 else f"{n:,.1f}"
