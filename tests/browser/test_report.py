"""The page of `harness report` in a browser: nothing runs, nothing is asked for, texts are texts, and it reads well."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board.contrasts import against_first, contrasts
from harness.board.report.page import page as report_page
from harness.board.samples import scores_by_item
from harness.cli.app import app
from harness.testing.boards import SCORE
from harness.testing.hostile import PAYLOADS, hostile_row, hostile_samples
from harness.visible import in_one_line, visible

pytestmark = pytest.mark.timeout(240)

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of this repository's rows, as the command writes it."""
    folder = tmp_path_factory.mktemp("report")
    rows = sorted(path.stem for path in (LEADERBOARDS / "rows").iterdir())
    arguments = ["report", *rows, "--board", LEADERBOARDS, "--out", folder / "index.html"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def written(folder, places, names):
    """The report of hostile rows, the later ones against the first."""
    rows = [hostile_row(place, names, PAYLOADS[place], judge=PAYLOADS[0]) for place in places]
    samples = {row.id: hostile_samples(place) for row, place in zip(rows, places, strict=True)}
    made = contrasts(rows, against_first(rows), lambda row, _, __: scores_by_item(samples[row.id], SCORE))
    (folder / "index.html").write_text(report_page(made, rows), encoding="utf-8")
    return folder


def no_sideways_scroll(page, width):
    return page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", THEMES)
def test_axe_finds_nothing_serious(visit, report, axe, scheme):
    assert axe(visit(report, scheme=scheme)) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_no_wider_than_its_window(visit, report, width):
    page = visit(report, width=width)
    assert page.locator("figure svg").count() == len(list((LEADERBOARDS / "rows").iterdir())) - 1
    assert no_sideways_scroll(page, width)


def test_its_figures_follow_the_theme(visit, report):
    colours = {}
    for scheme in THEMES:
        page = visit(report, scheme=scheme)
        text = page.locator("figure svg text").first
        colours[scheme] = text.evaluate("(text) => getComputedStyle(text).fill")
        assert colours[scheme] == page.locator("body").evaluate("(body) => getComputedStyle(body).color")
    assert colours["light"] != colours["dark"]


def test_wide_tables_are_scrolled_with_keys(visit, report):
    page = visit(report, width=360)
    wide = page.locator(".scroll").filter(has=page.locator("table.numbers")).first
    wide.focus()
    assert wide.evaluate("(one) => one.scrollWidth > one.clientWidth")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(one) => one.scrollLeft > 0", arg=wide.element_handle())


@pytest.mark.parametrize("scheme", THEMES)
def test_texts_of_rows_are_shown_as_they_are(visit, tmp_path, axe, scheme):
    places = range(THEMES.index(scheme), 60, 2)
    page = visit(written(tmp_path, places, ["code"]), scheme=scheme, width=360)
    said = page.locator("main").text_content()
    for place in places:
        assert said.count(visible(PAYLOADS[place])) > 5, PAYLOADS[place]
    assert page.locator("script, img, iframe, link, base, form, object, video, math").count() == 0
    assert page.locator("style").count() == 1
    assert no_sideways_scroll(page, 360)
    assert axe(page) == []


def test_benchmarks_and_figures_name_them_too(visit, tmp_path):
    page = visit(written(tmp_path, [0, 1], PAYLOADS))
    drawn = page.locator("figure svg text").all_text_contents()
    heads = page.locator(".versus tbody th").all_text_contents()
    assert heads[1:] == list(map(visible, PAYLOADS))
    assert {in_one_line(text) for text in PAYLOADS} <= set(drawn)
