"""A run's samples, read one after another, compared, or written to a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.cli.console import console
from harness.cli.pager import page
from harness.cli.sampletext import pair_block, sample_block
from harness.errors import UserError
from harness.reading.evaluations import Evaluation, chosen, evaluations, side
from harness.reading.frame import pair_row, row, write
from harness.reading.pairs import Comparison, compare, with_prompts
from harness.reading.samples import HALF, Selection, load, with_asked

WIDEST = 120
"""Columns that text is spread over on a terminal; longer lines are hard to read."""


@dataclass(frozen=True)
class Wanted:
    """Which samples are wanted, and what becomes of them."""

    run: str
    store: Path
    board: Path
    """The published leaderboard in which rows are looked for."""
    selection: Selection
    tasks: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    limit: int | None = None
    full: bool = False
    """Show all of a long prompt."""
    export: Path | None = None
    """Write them to this file instead of showing them."""


def show_samples(wanted: Wanted) -> None:
    """Page through samples, or export them; where nothing narrows them down, count them."""
    found = chosen(
        evaluations(wanted.run, wanted.store, wanted.board), tasks=wanted.tasks, arms=wanted.arms, seeds=wanted.seeds
    )
    asked_for_all = wanted.selection == Selection() and not (wanted.tasks or wanted.limit or wanted.export)
    if asked_for_all:
        _print_overview(found)
        return
    samples = with_asked(wanted.selection.of(load(found))[: wanted.limit])
    if wanted.export:
        _export([row(sample) for sample in samples], wanted.export)
    elif samples:
        _page(sample_block(sample, full=wanted.full) for sample in samples)
    else:
        typer.echo("no sample is of that kind")


def show_difference(wanted: Wanted, names: tuple[str, str], *, by: float) -> None:
    """Page through the items on which two models differ by more than `by`, or export them; and count all items."""
    if wanted.arms or wanted.selection != Selection(ids=wanted.selection.ids):
        raise UserError(
            "--diff chooses arms and samples itself", "leave --arm, --wrong, --worse-than and --outcome away"
        )
    found = evaluations(wanted.run, wanted.store, wanted.board)
    sides = (side(name, found, wanted.store, wanted.board) for name in names)
    a, b = (chosen(one, tasks=wanted.tasks, seeds=wanted.seeds) for one in sides)
    comparisons = compare(a, b, by)
    ids = wanted.selection.ids
    differing = [(one, pair) for one in comparisons for pair in one.differing() if not ids or pair.a.id in ids]
    pairs = with_prompts([pair for _, pair in differing[: wanted.limit]])
    if wanted.export:
        _export([pair_row(pair) for pair in pairs], wanted.export)
        return
    blocks = [
        pair_block(pair, one.kind(pair), names, full=wanted.full)
        for (one, _), pair in zip(differing, pairs, strict=False)
    ]
    _page([_summary(names, comparisons), *blocks])


def _summary(names: tuple[str, str], comparisons: Sequence[Comparison]) -> RenderableType:
    """Who A and B are, and of each benchmark how many items there are of each kind."""
    lines = [Text(f"{letter}: {name}", style="bold") for letter, name in zip("AB", names, strict=True)]
    for one in comparisons:
        counts = ", ".join(f"{kind} {number:,}" for kind, number in one.counts().items())
        lines.append(Text(f"{one.task}, {len(one.pairs):,} answers of each: {counts}"))
    return Group(*lines, Text())


def _print_overview(found: Sequence[Evaluation]) -> None:
    """Of every evaluation how many samples there are, how many are wrong, and how they ended."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("task", "arm", "seed", "samples", "wrong", "outcomes"):
        right = column in {"seed", "samples", "wrong"}
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    tasks = list(dict.fromkeys(one.task for one in found))
    for one in sorted(found, key=lambda one: tasks.index(one.task)):
        if one.samples is None:
            table.add_row(Text(one.task), Text(one.arm), str(one.seed), "-", "-", Text("not scored yet", style="dim"))
            continue
        samples = load([one])
        outcomes = ", ".join(f"{number:,} {name}" for name, number in Counter(s.outcome for s in samples).most_common())
        wrong = sum(sample.worse_than(HALF) for sample in samples)
        table.add_row(Text(one.task), Text(one.arm), str(one.seed), f"{len(samples):,}", f"{wrong:,}", Text(outcomes))
    console().print(table)
    typer.echo("--task TASK shows the samples, --wrong those that are wrong")


def _page(blocks: Iterable[RenderableType]) -> None:
    out = console()
    if out.is_terminal:
        out.width = min(out.width, WIDEST)

    def text(block: RenderableType) -> str:
        with out.capture() as captured:
            out.print(block)
        written = captured.get()
        return written if out.is_terminal else "".join(f"{line.rstrip()}\n" for line in written.split("\n")[:-1])

    page(text(block) for block in blocks)


def _export(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    write(rows, path)
    typer.echo(f"wrote {len(rows):,} samples to {path}")
