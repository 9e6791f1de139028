"""Progress for people: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from harness.jobs import Job, Progress
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
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        overall = bars.add_task("all jobs", total=len(plan.jobs), completed=len(plan.jobs) - todo, note="")
        yield _Bars(bars, overall)


@dataclass
class _Bars:
    """One bar a running job, one for all of them."""

    bars: Bars
    overall: TaskID
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def started(self, job: Job, *, resumed: bool) -> None:
        note = "going on" if resumed else "starting"
        self.tasks[job.key] = self.bars.add_task(job.label, total=None, note=note)

    def progressed(self, job: Job, progress: Progress) -> None:
        note = f"{progress.unit}s  {progress.note}"
        self.bars.update(self.tasks[job.key], completed=int(progress.done), total=int(progress.total), note=note)

    def finished(self, job: Job, seconds: float) -> None:
        self.bars.remove_task(self.tasks.pop(job.key))
        self.bars.advance(self.overall)
        self.bars.console.print(Text(f"done  {job.label}  {seconds:.1f} s"))


@dataclass
class _Lines:
    """A line when a job starts, now and then while it runs, and when it is finished."""

    done: int
    total: int
    said: dict[str, float] = field(default_factory=dict)

    def started(self, job: Job, *, resumed: bool) -> None:
        self.said[job.key] = time.monotonic()
        typer.echo(f"{'goes on' if resumed else 'starts'}: {job.label}", err=True)

    def progressed(self, job: Job, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.said[job.key] >= LINE_SECONDS:
            self.said[job.key] = now
            amount = f"{progress.done:.0f}/{progress.total:.0f} {progress.unit}s"
            typer.echo(f"  {job.label}: {amount}  {progress.note}".rstrip(), err=True)

    def finished(self, job: Job, seconds: float) -> None:
        self.done += 1
        typer.echo(f"done {self.done}/{self.total}: {job.label} ({seconds:.1f} s)", err=True)
