"""What a run's board comes to: which differences are real, and scores over what was swept."""

import io

import pytest
from rich.console import Console

from harness.armspec import ArmSpec
from harness.board.board import Board, Cell, Column, Line
from harness.board.differences import Difference
from harness.board.marks import Comparison
from harness.cli.summary import print_curves, print_verdicts


def swept(**values):
    own = {name.replace("_", "."): value for name, value in values.items()}
    return ArmSpec(("dmt",), own=own, swept=tuple(own))


def cell(score, mark=None):
    difference = mark and Difference(value=score - 0.5, interval=None, p=0.5, n=200, claim="checkpoint")
    comparison = mark and Comparison(difference=difference, mark=mark)
    return Cell(score=score, interval=None, items=200, n_missing=0, comparison=comparison)


def line(arm, score, mark=None, baseline="sft"):
    counts = {"match": None, "seeds": (0,), "examples": 10.0, "tokens": 100.0}
    composite, cells = cell(score, mark), {"playground_arithmetic": cell(score), "playground_chat": cell(1.0)}
    against = baseline if mark else None
    return Line(rank=1, row=arm, arm=arm, baseline=against, composite=composite, cells=cells, **counts)


def board(*lines):
    columns = {name: Column(protocol="strict-1", higher_is_better=True) for name in lines[0].cells}
    return Board(
        suite="own", suite_sha256="0", recipe_sha256="0", benchmarks=columns, composite="macro-average", lines=lines
    )


@pytest.fixture
def shown():
    """What a function prints on a terminal of that width."""

    def shown(function, *arguments, width=80):
        stream = io.StringIO()
        function(*arguments, Console(file=stream, width=width))
        return [text.rstrip() for text in stream.getvalue().splitlines()]

    return shown


# --- verdicts ------------------------------------------------------------------------------------------------------


def test_which_differences_are_real(shown):
    lines = [line("dmt", 0.9, "+"), line("im", 0.6, "?"), line("sft", 0.5), line("sequential", 0.2, "-")]
    assert shown(print_verdicts, board(*lines)) == [
        "",
        "composite, against sft",
        "  better: dmt +40.0",
        "  worse: sequential -30.0",
        "  not known to differ: im +10.0",
    ]


def test_each_baseline_has_its_verdicts(shown):
    lines = [line("sft@a", 0.5), line("sft@b", 0.5), line("im@a", 0.6, "?", "sft@a"), line("im@b", 0.4, "-", "sft@b")]
    headings = [text for text in shown(print_verdicts, board(*lines)) if "against" in text]
    assert headings == ["composite, against sft@a", "composite, against sft@b"]


def test_one_difference_is_told_by_the_table(shown):
    assert shown(print_verdicts, board(line("dmt", 0.9, "+"), line("sft", 0.5))) == []


# --- curves --------------------------------------------------------------------------------------------------------


def test_a_curve_as_a_terminal_shows_it(shown):
    arms = [swept(dmt_k=k) for k in ("0/1", "1/8", "1/1")]
    lines = [line(arm.id, score) for arm, score in zip(arms, (0.0, 0.5, 1.0), strict=True)]
    assert shown(print_curves, board(*lines)) == [
        "",
        "dmt, score against dmt.k",
        "                                  0    1/8      1",
        "  composite               ▄█    0.0   50.0  100.0",
        "  playground_arithmetic   ▄█    0.0   50.0  100.0",
        "  playground_chat        ███  100.0  100.0  100.0",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_long_curves_are_folded(shown, width):
    arms = [swept(dmt_k=f"1/{n}") for n in range(1, 13)]
    text = shown(print_curves, board(*(line(arm.id, 1 / n) for n, arm in enumerate(arms, 1))), width=width)
    assert max(map(len, text)) <= width
    written = " ".join(text)
    assert all(f"1/{n}" in written for n in range(2, 13))
    assert "8.3" in written
