"""`harness compare`, as it is typed, against the published leaderboard of this repository."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board.contrasts import Contrasts
from harness.board.noise import Noise
from harness.cli.app import app
from harness.errors import UserError

SFT, DMT, IM, BASE = "8d00d2", "48717c", "009563", "63ccdd"
PUBLISHED = ["--board", str(Path(__file__).parents[2] / "leaderboards")]


@pytest.fixture
def compare(monkeypatch):
    """What the command prints on a terminal of that width."""

    def compare(*arguments, width=80):
        monkeypatch.setenv("COLUMNS", str(width))
        result = CliRunner().invoke(app, ["compare", *arguments, *PUBLISHED])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return "\n".join(line.rstrip() for line in result.output.split("\n"))

    return compare


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_fits_the_terminal(compare, snapshot, width):
    shown = compare(SFT, DMT, BASE, width=width)
    assert max(map(len, shown.split("\n"))) <= width
    assert shown == snapshot


def test_rows_are_named_by_their_ids(compare):
    shown = compare(SFT, DMT)
    assert "dmt against sft" in shown
    assert "A claim about the methods, over 3 paired seeds, provisional below 5." in shown


def test_programs_read_json(compare):
    made = Contrasts.model_validate_json(compare(SFT, DMT, "--json"))
    assert made.margin == 0.01
    assert made.contrasts[0].composite.difference.value == pytest.approx(-0.078, abs=1e-3)
    assert (
        Contrasts.model_validate_json(compare(SFT, DMT, "--json", "--margin", "50")).contrasts[0].composite.mark == "="
    )
    assert len(Contrasts.model_validate_json(compare(SFT, DMT, BASE, "--all-pairs", "--json")).contrasts) == 3


def test_the_noise_floor(compare, snapshot):
    assert compare(SFT, IM, "--aa") == snapshot
    floors = [Noise.model_validate(one) for one in json.loads(compare(SFT, IM, "--aa", "--json"))]
    assert [floor.arm for floor in floors] == ["sft", "im"]


def test_nothing_to_compare_is_said(compare):
    with pytest.raises(UserError, match=r"no arm is named .write harness compare"):
        compare()
    with pytest.raises(UserError, match="one arm is no comparison"):
        compare(SFT)
