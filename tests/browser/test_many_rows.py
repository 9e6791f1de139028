"""A board of ten thousand rows opens, sorts and filters, and only what is in view is in the document.

How long that takes stands in benchmarks/board_page.py.
"""

import os

import pytest

from harness.testing.boards import synthetic

pytestmark = pytest.mark.timeout(500)

ROWS = 10_000
SMALL = 4_000
"""Elements of the whole page; one for each row alone would be more."""


@pytest.fixture(scope="module")
def many():
    return synthetic(ROWS, items=4, profiles=12)


@pytest.fixture(scope="module")
def many_rows(many, write_site, tmp_path_factory):
    """The site of the board; twenty thousand fsyncs would prove nothing about its page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return write_site(tmp_path_factory.mktemp("many"), many)


def elements(page):
    return page.evaluate("document.querySelectorAll('*').length")


def first(page):
    return page.locator("#table tbody tr:not(.spacer) th a").first.inner_text()


def test_ten_thousand_rows_are_shown_sorted_and_filtered(visit, many_rows, many):
    page = visit(many_rows)
    lines = many.board.lines
    assert page.locator("#status").inner_text() == "10,000 rows"
    assert first(page) == lines[0].arm
    assert elements(page) < SMALL

    page.locator("#table tbody th a").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == lines[-1].arm
    assert page.locator("#table tbody tr:not(.spacer)").last.get_attribute("aria-rowindex") == str(ROWS + 1)
    page.keyboard.press("Home")

    page.locator("#table thead").get_by_role("button", name="Device time", exact=True).click()
    least = min((line for line in lines if line.device_hours is not None), key=lambda line: line.device_hours)
    assert first(page) == least.arm
    assert elements(page) < SMALL

    page.get_by_label("Search rows").fill("neftune 1/64")
    wanted = [line for line in lines if "neftune" in line.arm and "1/64" in line.arm]
    assert page.locator("#status").inner_text() == f"{len(wanted):,} rows of 10,000"
    assert len(wanted) > 150
    assert elements(page) < SMALL


def test_ten_thousand_points_are_one_path_and_one_stop_of_the_tab_key(visit, many_rows, many):
    page = visit(many_rows)
    page.locator("#charts").scroll_into_view_if_needed()
    page.locator("#frontier").wait_for()
    section = page.locator("section[aria-labelledby='frontier']")
    known = sum(line.device_hours is not None for line in many.board.lines)
    drawn = section.locator("path.dots").get_attribute("d").count("M") + section.locator(".marker.front").count()
    assert drawn == known > 8_000
    assert section.locator(".cursor").count() == 1
    assert f"{ROWS - known:,} rows" in section.locator("> p").inner_text()
    assert elements(page) < SMALL


def test_a_row_of_many_opens(visit, many_rows, many):
    row = many.rows[7_777]
    page = visit(many_rows, f"#row={row.id}")
    page.get_by_role("heading", level=1, name=row.result.arm, exact=True).wait_for()
    assert row.id in page.locator("#row").text_content()
