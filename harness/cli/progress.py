"""Progress for people: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from harness.context import Progress
from harness.jobs import Job
from harness.plan import Plan
from harness.run import Reporter

LINE_SECONDS = 15.0
"""Between two plain lines about one job."""


@contextmanager
def reporting(plan: Plan, todo: int) -> Iterator[Reporter]:
    """A reporter for the run's `todo` jobs, fit for where standard error goes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(len(plan.jobs) - todo, len(plan.jobs))
        return
    with FittingBars(console) as bars:
        overall = bars.add_task("all jobs", total=len(plan.jobs), completed=len(plan.jobs) - todo, note="", left=False)
        yield _Bars(bars, overall)


class _Time(ProgressColumn):
    """The time left where it can be told, else the time since the task began."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        told = task.fields.get("seconds_left")
        left = told if told is not None else task.time_remaining if task.fields["left"] else None
        return Text(_clock(task.elapsed or 0) if left is None else f"{_clock(left)} left", style="cyan")


def _clock(seconds: float) -> str:
    """`4:07`, `1:04:07`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class FittingBars(Bars):
    """Bars in which numbers are never cut: where the terminal is narrow, the bar goes first and then the note."""

    _label = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    _amount = MofNCompleteColumn(table_column=Column(no_wrap=True, justify="right"))
    _note = TextColumn("{task.fields[note]}", style="dim", markup=False)
    _bar = BarColumn(bar_width=24)
    _time = _Time()

    def __init__(self, console: Console, get_time: Callable[[], float] | None = None) -> None:
        self._terminal = console  # the base asks for a table before it has a console
        super().__init__(console=console, get_time=get_time)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The widest table that fits."""
        tasks, unbounded = list(tasks), self._terminal.options.update(width=10_000)
        for columns in (
            (self._label, self._bar, self._amount, self._note, self._time),
            (self._label, self._amount, self._note, self._time),
            (self._label, self._amount, self._time),
        ):
            self.columns = columns
            table = super().make_tasks_table(tasks)
            if self._terminal.measure(table, options=unbounded).maximum <= self._terminal.width:
                break
        return table


@dataclass
class _Bars:
    """One bar a running job, one for all of them."""

    bars: Bars
    overall: TaskID
    tasks: dict[str, TaskID] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)

    def started(self, job: Job, *, resumed: bool) -> None:
        note = "going on" if resumed else "starting"
        self.tasks[job.key] = self.bars.add_task(job.label, total=None, note=note, left=True)

    def progressed(self, job: Job, progress: Progress) -> None:
        note = f"{progress.unit}s  {progress.note}"
        self.bars.update(
            self.tasks[job.key],
            completed=int(progress.done),
            total=int(progress.total),
            note=note,
            seconds_left=progress.seconds_left,
        )

    def noticed(self, job: Job, text: str) -> None:
        if text not in self.noted:  # what is so for one job is so for others too
            self.noted.add(text)
            self.bars.console.print(Text(f"{job.label}: {text}"))

    def finished(self, job: Job, seconds: float) -> None:
        self.bars.remove_task(self.tasks.pop(job.key))
        self.bars.advance(self.overall)
        self.bars.console.print(Text(f"done  {job.label}  {seconds:.1f} s"))

    def note(self, text: str) -> None:
        self.bars.console.print(Text(text))


@dataclass
class _Lines:
    """A line when a job starts, now and then while it runs, and when it is finished."""

    done: int
    total: int
    said: dict[str, float] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)

    def started(self, job: Job, *, resumed: bool) -> None:
        self.said[job.key] = time.monotonic()
        typer.echo(f"{'goes on' if resumed else 'starts'}: {job.label}", err=True)

    def progressed(self, job: Job, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.said[job.key] >= LINE_SECONDS:
            self.said[job.key] = now
            amount = f"{progress.done:.0f}/{progress.total:.0f} {progress.unit}s"
            left = "" if progress.seconds_left is None else f"{_clock(progress.seconds_left)} left"
            said = ", ".join(filter(None, [progress.note, left]))
            typer.echo(f"  {job.label}: {amount}  {said}".rstrip(), err=True)

    def noticed(self, job: Job, text: str) -> None:
        if text not in self.noted:
            self.noted.add(text)
            typer.echo(f"  {job.label}: {text}", err=True)

    def finished(self, job: Job, seconds: float) -> None:
        self.done += 1
        typer.echo(f"done {self.done}/{self.total}: {job.label} ({seconds:.1f} s)", err=True)

    def note(self, text: str) -> None:
        typer.echo(text, err=True)
