"""Estimates as they are printed."""

import io

import pytest
from rich.console import Console

from harness.cli import estimates
from harness.data.resolve import Places
from harness.estimate.figures import Trouble
from harness.estimate.fit import Remedy
from harness.estimate.plan import estimate
from harness.files import size_words
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.settings import Setting
from harness.store import Store


@pytest.fixture
def found(tmp_path):
    """The playground's, with a peak that gives every stage a speed."""
    recipe = load("playground", [Setting.parse("train.peak_tflops=0.1")], ["im,dmt"])
    arms = choose_arms(recipe, ["im,dmt"], [], baseline=True, factorial=False)
    places = Places(None, tmp_path / "cache")
    return estimate(build(recipe, arms, places), Store(tmp_path / "store"), places)


def printed(width, *calls):
    out = io.StringIO()
    console = Console(file=out, width=width)
    for show, what in calls:
        show(console, what)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_arms_table(found, width, snapshot):
    text = printed(width, (estimates.show_sum, found), (estimates.show_grounds, found))
    text += "".join(printed(width, (estimates.show_arm, arm)) for arm in found.arms)
    assert max(map(len, text.split("\n"))) <= width
    assert text == snapshot


def test_a_warning_names_what_fits(snapshot):
    remedies = (
        Remedy("--set runtime.micro_tokens=2048", 19 * 2**30, same_results=True),
        Remedy("--set train.lora.rank=16", 9.4 * 2**30, same_results=False),
    )
    trouble = Trouble("im: train all needs ~31 GiB a device; there are 24 GiB", remedies)
    assert printed(80, (estimates.show_trouble, trouble)) == snapshot


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([estimates.count(n) for n in (0, 999, 56_123, 999_900, 7_241_732_096)], ["0", "999", "56.1k", "1M", "7.24B"]),
        ([size_words(n * 2**20) for n in (0.6, 820, 2000, 31_900)], ["614 KiB", "820 MiB", "2.0 GiB", "31 GiB"]),
        ([estimates.duration(s) for s in (0.4, 100, 400, 6000, 90_000, 200_000)],
         ["1 s", "100 s", "6.7 min", "100 min", "25 h", "2.3 d"]),
        ([estimates.hours(h) for h in (0.0312, 12.44, 1234.5)], ["0.031", "12.4", "1,234.5"]),
    ],
)  # fmt: skip
def test_numbers_have_two_or_three_digits(shown, expected):
    assert shown == expected
