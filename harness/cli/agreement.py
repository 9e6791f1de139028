"""What `harness judge agreement` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from harness.aggregates import total
from harness.api import Total
from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.cli.console import console
from harness.errors import UserError
from harness.judge.agreement import LEVEL, RESAMPLES, Estimate, Rule, points_agreement, votes_agreement
from harness.judge.graded import Row, graded, of_samples, votes
from harness.visible import printable_json

_INTERVALS = f"{100 * LEVEL:g} % intervals, from drawing the questions {RESAMPLES:,} times"

# --- points --------------------------------------------------------------------------------------------------------


def compare_points(theirs: Sequence[Row], ours: Sequence[Row], benchmark: str, *, as_json: bool) -> None:
    """Print how points agree; totals are made by the rule of the plug-in `benchmark`."""
    found = points_agreement(graded(of_samples(theirs), of_samples(ours)), _rule(benchmark))
    if not found.answers:
        raise UserError("no answer was graded by both", "give grades of the same answers")
    if as_json:
        by_model = {model: {**asdict(both), "error": both.error} for model, both in found.totals.items()}
        typer.echo(printable_json(json.dumps({**asdict(found), "totals": by_model}, indent=1)))
        return
    figures = _table("", "", "interval")
    figures.add_row("mean absolute error, points", *_number(found.error))
    figures.add_row("equal points", *_percent(found.exact))
    figures.add_row("within 1 point", *_percent(found.within_one))
    figures.add_row("quadratic-weighted kappa", *_number(found.kappa))
    totals = _table("total of", "people", "judge", "error")
    for model, both in found.totals.items():
        totals.add_row(Text(model), _points(both.human), _points(both.judged), _points(both.error, signed=True))
    console().print(figures, "", totals, "", sep="\n")
    missing = f", {found.missing} more graded by one alone" if found.missing else ""
    typer.echo(f"{found.answers} answers to {found.questions} questions{missing}; {_INTERVALS}")


def _rule(benchmark: str) -> Rule:
    """How a benchmark's points become a total: by its plug-in's rule, or as their sum; None of other questions."""
    offered = bind(ArmSpec((FALLBACK,)), [benchmark]).evaluators().values()
    rule = next((one.aggregate for one, _ in offered if isinstance(one.aggregate, Total)), Total(out_of=1))
    ruled = {question for group in rule.drop_lowest_of for question in group}
    return lambda points: total(points, len(points), 1, rule.drop_lowest_of) if ruled <= set(points) else None


# --- votes ---------------------------------------------------------------------------------------------------------


def compare_votes(theirs: Sequence[Row], ours: Sequence[Row], *, as_json: bool) -> None:
    """Print how votes agree, those of people among themselves beside."""
    people, judge = votes(theirs), votes(ours)
    turns = [None, *sorted({vote.turn for vote in people})]
    found = [("judge and people", turn, votes_agreement(people, judge, turn=turn)) for turn in turns]
    found += [("people among themselves", turn, votes_agreement(people, turn=turn)) for turn in turns]
    if not found[0][2].pairs:
        raise UserError("the judge voted on nothing that people voted on", "give votes on the same answers")
    if as_json:
        said = [{"who": who, "turn": turn, **asdict(one)} for who, turn, one in found]
        typer.echo(printable_json(json.dumps(said, indent=1)))
        return
    rates = _table("", "turn", "pairs", "with ties", "interval", "pairs", "without ties", "interval")
    for who, turn, one in found:
        with_ties = f"{one.pairs:,}", *_percent(one.with_ties)
        rates.add_row(who, str(turn or "all"), *with_ties, f"{one.decided_pairs:,}", *_percent(one.without_ties))
    console().print(rates, "", sep="\n")
    typer.echo(f"chance alone: 33.3 % with ties, 50 % without; {_INTERVALS}")


# --- numbers -------------------------------------------------------------------------------------------------------


def _table(name: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(name, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _number(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "not defined", ""
    return f"{estimate.value:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}"


def _percent(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "not defined", ""
    return f"{100 * estimate.value:.1f} %", f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"


def _points(value: float | None, *, signed: bool = False) -> str:
    return "?" if value is None else f"{value:+g}" if signed else f"{value:g}"
