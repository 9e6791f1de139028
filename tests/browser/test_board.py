"""The board as a page: order, filters, search, columns, keys, its address, themes and a phone's width."""

from dataclasses import replace

import pytest

from harness.testing.boards import synthetic

pytestmark = pytest.mark.timeout(240)


def shown(page):
    return page.locator("#table tbody th a").all_inner_texts()


def arms(lines):
    return [line.arm for line in lines]


def head(page, name):
    return page.locator("#table thead th").filter(has=page.get_by_role("button", name=name, exact=True))


def choose(page, facet, value):
    page.locator(f".menu[data-menu='{facet}'] summary").click()
    page.locator(f".menu[data-menu='{facet}'] label").filter(has_text=value).first.click()
    page.keyboard.press("Escape")


def models(board):
    return {row.result.arm: row.result.model["id"] for row in board.rows}


# --- order ---------------------------------------------------------------------------------------------------------


def test_rows_stand_in_the_boards_order(visit, site, board):
    page = visit(site)
    assert shown(page) == arms(board.board.lines)
    assert head(page, "Rank and arm").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("code", lambda line: line.cells["code"].score),
        ("Device time", lambda line: line.device_hours),
        ("Tokens", lambda line: line.tokens),
    ],
)
def test_a_column_sorts_both_ways_and_what_has_no_value_stands_last(visit, site, board, column, value):
    page = visit(site)
    known = [line for line in board.board.lines if value(line) is not None]
    unknown = [line for line in board.board.lines if value(line) is None]
    seen = set()
    for _ in range(2):
        head(page, column).get_by_role("button").click()
        order = head(page, column).get_attribute("aria-sort")
        sense = {"ascending": 1, "descending": -1}[order]
        assert shown(page) == arms([*sorted(known, key=lambda line: sense * value(line)), *unknown])
        seen.add(order)
    assert len(seen) == 2
    head(page, "Rank and arm").get_by_role("button").click()
    assert shown(page) == arms(board.board.lines)


# --- what the board says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (
            "+* + -* ? ?*",
            "2 of 5 rows are better than sft (1 provisionally), 1 is provisionally worse, 2 are not known to differ.",
        ),
        (
            "+* +* +* = ?",
            "3 of 5 rows are provisionally better than sft, 1 is equal within the margin, 1 is not known to differ.",
        ),
        (
            "- - -* ? ?",
            "None of 5 rows is known to be better than sft; 3 are worse (1 provisionally); 2 are not known to differ.",
        ),
    ],
)
def test_the_headline_says_what_is_provisional(visit, write_site, tmp_path, marks, said):
    made = synthetic(6, items=60)
    comparisons = {
        line.row: line.composite.comparison.model_copy(update={"mark": mark[0], "provisional": mark.endswith("*")})
        for line, mark in zip((line for line in made.board.lines if line.baseline), marks.split(), strict=True)
    }
    lines = tuple(
        line.model_copy(
            update={"composite": line.composite.model_copy(update={"comparison": comparisons.get(line.row)})}
        )
        for line in made.board.lines
    )
    site = write_site(tmp_path, replace(made, board=made.board.model_copy(update={"lines": lines})))
    assert visit(site).locator(".lede").inner_text() == said


# --- filters, search, columns --------------------------------------------------------------------------------------


def test_filters_of_one_kind_add_rows_and_those_of_several_take_them_away(visit, site, board):
    page = visit(site)
    of = models(board)
    choose(page, "model", "example/base-3b")
    assert shown(page) == [arm for arm in arms(board.board.lines) if of[arm] == "example/base-3b"]
    assert 0 < len(shown(page)) < len(of)
    choose(page, "model", "example/base-1b")
    assert len(shown(page)) == len(of)
    choose(page, "method", "neftune")
    assert shown(page) == [arm for arm in arms(board.board.lines) if "neftune" in arm]
    page.get_by_role("button", name="Remove the filter Method neftune").click()
    assert len(shown(page)) == len(of)
    assert page.locator("#status").inner_text() == f"{len(of)} rows"


def test_data_filters_by_what_rows_read(visit, site, board):
    page = visit(site)
    choose(page, "data", "tulu")
    reading = {row.result.arm for row in board.rows if any(data.name == "tulu" for data in row.result.data)}
    assert shown(page) == [arm for arm in arms(board.board.lines) if arm in reading]
    assert 0 < len(reading) < len(board.rows)


def test_search_finds_all_words_anywhere(visit, site, board):
    page = visit(site)
    page.get_by_label("Search rows").fill("IM 1/64")
    assert shown(page) == [arm for arm in arms(board.board.lines) if "im" in arm and "1/64" in arm]
    row = board.rows[5]
    page.get_by_label("Search rows").fill(row.id[:12])
    assert shown(page) == [row.result.arm]
    page.get_by_label("Search rows").fill("no such arm")
    assert shown(page) == []
    assert page.locator("#status").inner_text() == f"0 rows of {len(board.rows)}"


def test_columns_are_chosen(visit, site):
    page = visit(site)
    assert head(page, "Base model").count() == 0
    choose(page, "columns", "Base model")
    choose(page, "columns", "chat")
    assert head(page, "Base model").count() == 1
    assert head(page, "chat").count() == 0
    assert page.locator("#table tbody tr").first.locator("td").count() == page.locator("#table thead th").count() - 1


# --- the address ---------------------------------------------------------------------------------------------------


def test_whoever_has_the_address_sees_the_same(visit, site):
    page = visit(site)
    page.get_by_label("Search rows").fill("dmt")
    head(page, "chat").get_by_role("button").click()
    choose(page, "columns", "Tokens")
    choose(page, "model", "example/base-1b")
    address = page.evaluate("location.hash")
    other = visit(site, address)
    assert shown(other) == shown(page) != []
    assert other.locator("#table thead").inner_text() == page.locator("#table thead").inner_text()
    assert other.get_by_label("Search rows").input_value() == "dmt"


def test_back_leads_from_a_row_to_the_board_as_it_was(visit, site):
    page = visit(site, "#q=dmt&sort=-task%3Achat")
    before = shown(page)
    page.locator("#table tbody th a").nth(1).click()
    page.get_by_role("heading", level=1, name=before[1], exact=True).wait_for()
    assert not page.locator("#board").is_visible()
    page.go_back()
    assert shown(page) == before
    assert page.locator("#board").is_visible()


# --- keys ----------------------------------------------------------------------------------------------------------


def test_rows_are_walked_and_opened_with_keys(visit, site, board):
    page = visit(site)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.locator("#table tbody th a").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    focused = "document.activeElement.textContent"
    assert page.evaluate(focused) == board.board.lines[3].arm
    page.keyboard.press("End")
    assert page.evaluate(focused) == board.board.lines[-1].arm
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=board.board.lines[0].arm, exact=True).wait_for()


def test_everything_on_the_board_is_reached_with_the_tab_key(visit, site):
    page = visit(site)
    page.locator("#charts").scroll_into_view_if_needed()
    page.locator("#curves").wait_for()
    page.evaluate("scrollTo(0, 0)")
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
          .filter((one) => one.checkVisibility() && one.tabIndex >= 0).length"""
    )
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("[document.activeElement.tagName, document.activeElement.checkVisibility()]"))
    assert wanted > 20
    assert all(visible and tag != "BODY" for tag, visible in reached), reached


def test_a_menu_closes_with_escape_and_gives_the_focus_back(visit, site):
    page = visit(site)
    summary = page.locator(".menu[data-menu='method'] summary")
    summary.focus()
    page.keyboard.press("Enter")
    page.locator(".menu[open] label").first.wait_for()
    while page.evaluate("document.activeElement.type") != "checkbox":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert len(page.locator(".chip").all()) == 1
    page.keyboard.press("Escape")
    assert page.locator(".menu[open]").count() == 0
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


# --- how it looks --------------------------------------------------------------------------------------------------

PAPER = "getComputedStyle(document.body).backgroundColor"


def test_the_theme_is_the_systems_until_the_button_says_otherwise(visit, site):
    light, dark = visit(site), visit(site, scheme="dark")
    grounds = light.evaluate(PAPER), dark.evaluate(PAPER)
    assert grounds[0] != grounds[1]
    dark.get_by_role("button", name="Light theme").click()
    assert dark.evaluate(PAPER) == grounds[0]
    dark.reload()
    assert dark.evaluate(PAPER) == grounds[0]
    dark.get_by_role("button", name="Dark theme").click()
    assert dark.evaluate(PAPER) == grounds[1]


@pytest.mark.parametrize("view", ["board", "row", "samples"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_window(visit, site, board, view, width):
    line = next(line for line in board.board.lines if line.baseline)
    address = {
        "board": "",
        "row": f"#row={line.row}",
        "samples": f"#row={line.row}&task=code&seed=0&other={line.baseline}",
    }[view]
    page = visit(site, address, width=width)
    page.locator({"board": "#board", "row": "#row section", "samples": "#samples .pair"}[view]).first.wait_for()
    if view == "board":
        page.locator("#charts").scroll_into_view_if_needed()
        page.locator("#curves").wait_for()
    for details in page.locator("details:visible > summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
