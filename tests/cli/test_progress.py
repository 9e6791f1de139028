"""Bars on a terminal, at the widths that people have."""

import io

import pytest
from rich.console import Console

from harness.cli.progress import FittingBars, _Bars, _Lines
from harness.context import Progress
from harness.jobs import Job

LABEL = "evaluate gsm8k of dmt+im, seed 0"


def shown(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    seconds = [0.0]
    bars = FittingBars(console, lambda: seconds[0])
    bars.add_task("all jobs", total=12, completed=3, note="", left=False)
    job = bars.add_task(LABEL, total=1319, note="items  25.3 tok/s", left=True)
    for moment in (4000, 4010):
        seconds[0] = moment
        bars.advance(job, 500)
    with console.capture() as capture:
        console.print(bars.get_renderable())
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_numbers_and_times_are_whole_at_any_width(width):
    text = shown(width)
    assert "3/12" in text
    assert "1000/1319" in text
    assert "…" not in text
    assert "1:06:50" in text  # since the first job began
    assert "0:07 left" in text  # 319 at 50 a second
    assert all(len(line) <= width for line in text.split("\n"))


def test_the_bar_goes_first_and_then_the_note():
    assert "━" in shown(120)
    assert "━" not in shown(80)
    assert "tok/s" in shown(80)
    assert "tok/s" not in shown(60)
    assert LABEL in shown(60)


@pytest.mark.parametrize("width", [60, 120])
def test_the_time_left_is_the_jobs_own_where_it_tells_one(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    job = Job("train", "sft: train all (seed 0)", {})
    with FittingBars(console) as bars:
        reporter = _Bars(bars, bars.add_task("all jobs", total=2, note="", left=False))
        reporter.started(job, resumed=False)
        reporter.progressed(job, Progress(3, 90, "step", "loss 1.234, 12.3k tok/s, 41 % MFU", seconds_left=200.0))
        with console.capture() as capture:
            console.print(bars.get_renderable())
    text = capture.get()
    assert "3/90" in text
    assert "3:20 left" in text
    assert ("41 % MFU" in text) == (width == 120)


def test_a_plain_line_ends_with_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr("harness.cli.progress.LINE_SECONDS", 0.0)
    job = Job("train", "sft: train all (seed 0)", {})
    lines = _Lines(0, 2)
    lines.started(job, resumed=False)
    lines.progressed(job, Progress(3, 90, "step", "loss 1.234, 12.3k tok/s, 41 % MFU", seconds_left=200.0))
    lines.noticed(job, "TensorBoard is not installed")
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  sft: train all (seed 0): 3/90 steps  loss 1.234, 12.3k tok/s, 41 % MFU, 3:20 left",
        "  sft: train all (seed 0): TensorBoard is not installed",
    ]
