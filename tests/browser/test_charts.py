"""The charts below the table: what they show is what the board says, and everybody can read it."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

import harness.board.site
from harness.board.curves import curves

pytestmark = pytest.mark.timeout(240)

SITE = Path(harness.board.site.__file__).parent
PLACE = re.compile(r"translate\(([-\d.]+),([-\d.]+)\)")


@pytest.fixture
def charts(visit, site):
    def charts(address="", **window):
        page = visit(site, address, **window)
        page.locator("#charts").scroll_into_view_if_needed()
        page.locator("#frontier").wait_for()
        return page

    return charts


def frontier(lines, score):
    """By its definition: no other line took as little or less and scored as well or better, one of both strictly."""
    known = [line for line in lines if line.device_hours is not None]

    def beaten(line):
        return any(
            other.device_hours <= line.device_hours
            and score(other) >= score(line)
            and (other.device_hours, score(other)) != (line.device_hours, score(line))
            for other in known
        )

    return sorted((line for line in known if not beaten(line)), key=lambda line: line.device_hours)


def places(page, selector):
    return [
        tuple(map(float, PLACE.search(one.get_attribute("transform")).groups())) for one in page.locator(selector).all()
    ]


def table(page, section):
    page.locator(f"section[aria-labelledby='{section}'] summary").click()
    page.locator(f"section[aria-labelledby='{section}'] tbody tr").first.wait_for()
    rows = page.locator(f"section[aria-labelledby='{section}'] tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


# --- score against device-hours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["composite", "task:code"])
def test_the_front_holds_the_rows_that_no_other_beats(charts, board, measure):
    def score(line):
        return line.composite.score if measure == "composite" else line.cells["code"].score

    page = charts(f"#measure={measure}")
    front = frontier(board.board.lines, score)
    rows = table(page, "frontier")
    assert [row[0] for row in rows if row[-1] == "on it"] == [line.arm for line in front]
    assert {row[0] for row in rows} == {line.arm for line in board.board.lines if line.device_hours is not None}
    assert {row[0]: row[2] for row in rows}[front[0].arm] == f"{100 * score(front[0]):.1f}"
    assert len(places(page, ".marker.front")) == len(front) > 1


def test_points_stand_where_their_numbers_are(charts, board):
    """Hours on a logarithmic axis, since some took many times what others did; scores on a linear one."""
    front = frontier(board.board.lines, lambda line: line.composite.score)
    found = places(charts(), ".marker.front")
    (x0, y0), (x1, y1) = found[0], found[-1]
    across = (x1 - x0) / math.log(front[-1].device_hours / front[0].device_hours)
    up = (y1 - y0) / (front[-1].composite.score - front[0].composite.score)
    assert up < 0 < across
    for line, (x, y) in zip(front, found, strict=True):
        assert x == pytest.approx(x0 + across * math.log(line.device_hours / front[0].device_hours), abs=0.01)
        assert y == pytest.approx(y0 + up * (line.composite.score - front[0].composite.score), abs=0.01)


def test_rows_whose_time_nobody_recorded_are_named_and_not_drawn_at_zero(charts, board):
    unknown = [line.arm for line in board.board.lines if line.device_hours is None]
    said = charts().locator("section[aria-labelledby='frontier'] > p").inner_text()
    assert 0 < len(unknown) <= 4
    assert said == f"Not shown, since nobody recorded what they took: {', '.join(unknown)}."


def test_every_point_is_reached_with_the_arrow_keys_and_opens_its_row(charts, board):
    page = charts()
    cursor = page.locator("section[aria-labelledby='frontier'] .cursor")
    cursor.focus()
    page.keyboard.press("Home")
    seen = [cursor.get_attribute("aria-label")]
    while True:
        page.keyboard.press("ArrowRight")
        label = cursor.get_attribute("aria-label")
        if label == seen[-1]:
            break
        seen.append(label)
    known = {line.arm: line for line in board.board.lines if line.device_hours is not None}
    assert {label.split(", Composite")[0] for label in seen} == set(known)
    assert page.locator("#status").inner_text() == seen[-1]
    assert page.locator(".chart.pointed .tip").is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".chart .tip:visible").count() == 0
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=seen[-1].split(", Composite")[0], exact=True).wait_for()


def test_a_pointer_is_told_what_it_points_at(charts, board):
    page = charts()
    front = frontier(board.board.lines, lambda line: line.composite.score)
    x, y = places(page, ".marker.front")[-1]
    picture = page.locator("section[aria-labelledby='frontier'] svg")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    tip = page.locator("section[aria-labelledby='frontier'] .tip")
    score, interval = front[-1].composite.score, front[-1].composite.interval
    assert tip.inner_text().split("\n")[:2] == [
        front[-1].arm,
        f"Composite {100 * score:.1f}, 95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f}",
    ]
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert not tip.is_visible()


def test_charts_show_the_rows_that_the_filters_leave(charts, board):
    page = charts("#q=dmt%2Bim")
    rows = table(page, "frontier")
    assert {row[0] for row in rows} == {
        line.arm for line in board.board.lines if "dmt+im" in line.arm and line.device_hours is not None
    }
    page.get_by_label("Search rows").fill("neftune")
    assert page.locator("#curves").count() == 0


# --- over what was swept -------------------------------------------------------------------------------------------


def test_curves_hold_the_boards_numbers(charts, board):
    page = charts("#setting=dmt.k")
    lines = board.board.lines
    wanted = {
        (curve.rest, point.value): [lines[point.place].composite, *lines[point.place].cells.values()]
        for curve in curves([line.arm for line in lines])
        if curve.setting == "dmt.k"
        for point in curve.points
    }
    rows = table(page, "curves")
    assert {(row[0], row[1]) for row in rows} == set(wanted)
    heads = page.locator("section[aria-labelledby='curves'] thead th").all_inner_texts()
    assert heads == ["Arm", "dmt.k", "Composite", *board.board.benchmarks]
    for arm, value, composite, *_ in rows:
        cell = wanted[arm, value][0]
        low, high = 100 * cell.interval.low, 100 * cell.interval.high
        assert composite.split("\n") == [f"{100 * cell.score:.1f}", f"{low:.1f} to {high:.1f}"]


def test_ratios_stand_on_a_logarithmic_axis_with_a_place_of_its_own_for_none(charts):
    page = charts("#setting=dmt.k")
    panel = page.locator(".panels .chart").first
    ticks = {
        text.text_content(): float(PLACE.search(text.locator("xpath=..").get_attribute("transform"))[1])
        for text in panel.locator(".axis").first.locator("g > text").all()
    }
    assert list(ticks) == ["0", "1/256", "1/64", "1/16", "1/4", "1"]
    steps = [ticks["1/64"] - ticks["1/256"], ticks["1/16"] - ticks["1/64"], ticks["1/4"] - ticks["1/16"]]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.01)
    assert ticks["1/256"] - ticks["0"] > 0


def test_there_is_a_panel_for_each_benchmark_and_a_line_for_each_arm(charts, board):
    page = charts("#setting=dmt.k")
    panels = page.locator(".panels svg")
    assert [one.get_attribute("aria-label") for one in panels.all()] == [
        f"{name} over dmt.k" for name in ("Composite", *board.board.benchmarks)
    ]
    families = page.locator(".lines li").all_inner_texts()
    assert panels.first.locator("path.line").count() == len(families) > 1
    assert {"dmt", "dmt+im"} <= {name.strip() for name in families}


def test_scores_over_the_tokens_that_a_sweep_of_the_data_gave(charts, board):
    page = charts("#setting=data.specialist.fraction&over=tokens")
    assert page.locator("#curves").inner_text() == ("Score over tokens trained on, as data.specialist.fraction changes")
    tokens = {line.arm: line.tokens for line in board.board.lines}
    rows = [row for row in table(page, "curves") if row[0] == "im"]
    assert [(row[1], row[2]) for row in rows] == [("1/16", "15.0k"), ("1/4", "60.0k"), ("1/2", "120k")]
    assert tokens["im@data.specialist.fraction=1/2"] == 120_000


def test_what_is_chosen_below_a_chart_stands_in_the_address(charts):
    page = charts()
    page.locator("#charts .choice").filter(has_text="Swept").locator("select").select_option("data.specialist.fraction")
    page.locator("#charts .choice").filter(has_text="Over").locator("select").select_option("examples")
    page.locator("#charts .choice").filter(has_text="Score").locator("select").select_option("task:chat")
    assert {"setting=data.specialist.fraction", "over=examples", "measure=task%3Achat"} <= set(
        page.url.partition("#")[2].split("&")
    )
    assert page.locator("section[aria-labelledby='frontier'] svg").get_attribute("aria-label") == (
        "chat against device-hours"
    )


# --- axes ----------------------------------------------------------------------------------------------------------


def test_ticks_are_round_numbers_within_their_axis(visit, tmp_path):
    """Inside, evenly spaced by 1, 2 or 5 of a power of ten, and neither few nor many."""
    (tmp_path / "index.html").write_text("<!doctype html><title>Axes</title>")
    ranges = [
        (sign * 10**power * start, sign * 10**power * start + 10**width * span)
        for sign in (-1, 0, 1)
        for power in (-3, 0, 4)
        for start in (1, 3.3, 9.99)
        for width in (-3, 0, 4)
        for span in (1, 2.7, 9.5)
    ]
    asked = f"{(SITE / 'axes.js').read_text()}\nreturn ranges.map(([low, high]) => roundNumbers(low, high, 5))"
    found = visit(tmp_path).evaluate(f"(ranges) => {{ {asked} }}", ranges)
    for (low, high), ticks in zip(ranges, found, strict=True):
        slack = 1e-6 * (high - low)
        assert 2 <= len(ticks) <= 7, (low, high, ticks)
        assert all(low - slack <= tick <= high + slack for tick in ticks)
        steps = [after - before for before, after in pairwise(ticks)]
        assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)
        digit = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
        assert min(abs(digit - round_) for round_ in (1, 2, 5, 10)) < 1e-6


def test_logarithmic_ticks_are_digits_of_decades(visit, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>Axes</title>")
    asked = (
        f"{(SITE / 'axes.js').read_text()}\nreturn ranges.map(([low, high]) => logAxis([low, high], [0, 100]).ticks)"
    )
    found = visit(tmp_path).evaluate(f"(ranges) => {{ {asked} }}", [[0.9, 60], [0.01, 1000], [1e-7, 1e7], [2, 6]])
    assert found[0] == [1, 2, 5, 10, 20, 50]
    assert found[1] == [0.01, 0.1, 1, 10, 100, 1000]
    assert all(math.log10(tick) == pytest.approx(round(math.log10(tick))) for tick in found[2])
    assert 3 <= len(found[2]) <= 7
    assert found[3] == [2, 3, 4, 5, 6]
