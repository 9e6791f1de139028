"""A row's own page and its samples, beside those of another row."""

import hashlib
import re

import pytest

from harness.board.files import model_json
from harness.board.samples import publishable

pytestmark = pytest.mark.timeout(240)

SCORE = "exact_match,none"


@pytest.fixture
def row(board):
    """A row with a baseline from which it differs on many items."""
    return next(row for row in board.rows if row.result.arm == "dmt+im@dmt.k=1")


@pytest.fixture
def baseline(board):
    return board.rows[0]


def words(page, selector):
    return " ".join(page.locator(selector).inner_text().split())


def items(page):
    return [re.search(r"Item (\w+-\d{4})", text)[1] for text in page.locator("#samples .pair h2").all_text_contents()]


def samples_address(row, other=None, task="arithmetic"):
    return f"#row={row.id}&task={task}&seed=0" + (f"&other={other.id}" if other else "")


def test_a_row_says_what_was_found_and_how_to_find_it_again(visit, site, row):
    page = visit(site, f"#row={row.id}")
    page.locator("#row section").first.wait_for()
    assert page.locator("#row h1").inner_text() == row.result.arm
    said = page.locator("#row").text_content()
    for fact in (
        row.id,
        row.measured.command,
        f"git checkout {row.measured.git.commit}",
        row.result.recipe_sha256,
        row.result.model["id"],
        *(plugin.name for plugin in row.result.plugins),
        *(data.content for data in row.result.data),
        *(part.samples_sha256 for task in row.result.tasks.values() for part in task.seeds),
    ):
        assert fact in said, fact
    for name, task in row.result.tasks.items():
        cells = page.locator("#row table").first.locator("tbody tr").filter(has_text=name).inner_text()
        assert f"{100 * task.score:.1f}" in cells
        assert f"{100 * task.interval.low:.1f} to {100 * task.interval.high:.1f}" in cells
        assert f"{task.outcomes['scored']} scored" in cells


def test_a_row_is_saved_as_the_file_it_is(visit, site, row):
    page = visit(site, f"#row={row.id}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this row as JSON").click()
    assert download.value.suggested_filename == f"{row.id}.json"
    assert download.value.path().read_bytes() == model_json(row)


def test_an_unknown_row_is_said_to_be_unknown(visit, site):
    page = visit(site, f"#row={'0' * 64}")
    assert "No such row" in page.get_by_role("alert").inner_text()


def test_a_row_that_is_left_before_it_is_read_does_not_come_back(visit, site, board):
    """Both pages are asked for at once; the one that the address names last is shown."""
    first, second = board.rows[1], board.rows[2]
    page = visit(site)
    page.evaluate(
        """async ([first, second]) => {
          for (const row of [first, second]) {
            history.pushState(null, "", `#row=${row}`);
            dispatchEvent(new PopStateEvent("popstate"));
          }
        }""",
        [first.id, second.id],
    )
    page.get_by_role("heading", level=1, name=second.result.arm, exact=True).wait_for()
    page.wait_for_function("!document.querySelector('iframe')")
    assert page.locator("#row h1").inner_text() == second.result.arm


# --- samples -------------------------------------------------------------------------------------------------------


def test_discordant_samples_are_those_that_one_of_two_rows_got_right(visit, site, board, row, baseline):
    page = visit(site, f"#row={row.id}")
    page.get_by_role("link", name="seed 0").first.click()
    page.locator("#samples .pair").first.wait_for()
    a, b = (board.samples_of(one, "arithmetic", 0) for one in (row, baseline))
    pairs = [(x["id"], x["scores"][SCORE], y["scores"][SCORE]) for x, y in zip(a, b, strict=True)]
    for button, wanted in {
        "Where they differ": {id_ for id_, mine, theirs in pairs if mine != theirs},
        "A better": {id_ for id_, mine, theirs in pairs if mine > theirs},
        "B better": {id_ for id_, mine, theirs in pairs if mine < theirs},
        "Neither full": {id_ for id_, mine, theirs in pairs if mine == theirs == 0},
        "All items": {id_ for id_, _, _ in pairs},
    }.items():
        chosen = page.locator(".kinds button").filter(has_text=button)
        chosen.click()
        page.locator(".kinds button[aria-pressed='true']").filter(has_text=button).wait_for()
        while page.locator("#samples .more").count():
            page.locator("#samples .more").click()
        found = items(page)
        assert set(found) == wanted
        assert len(found) == len(wanted) == int(chosen.locator("small").inner_text())
        assert wanted


def test_both_answers_stand_side_by_side_as_they_were_given(visit, site, board, row, baseline):
    page = visit(site, samples_address(row, baseline) + "&kind=a")
    card = page.locator("#samples .pair").first
    card.wait_for()
    id_ = items(page)[0]
    given = [
        next(sample for sample in board.samples_of(one, "arithmetic", 0) if sample["id"] == id_)["response"]
        for one in (row, baseline)
    ]
    assert card.locator("pre.response").all_inner_texts() == given
    assert card.locator(".answer").nth(0).get_attribute("class") == "answer right"
    assert card.locator(".answer").nth(1).get_attribute("class") == "answer wrong"


def test_samples_are_searched_and_the_other_row_is_chosen(visit, site, board, row):
    page = visit(site, samples_address(row))
    page.locator("#samples .pair").first.wait_for()
    assert page.locator("#samples .sides.two").count() == 0
    other = board.rows[4]
    page.locator(".choice").filter(has=page.get_by_text("B", exact=True)).locator("select").select_option(other.id)
    page.locator("#samples .sides.two").first.wait_for()
    assert f"other={other.id}" in page.url
    page.get_by_label("Search in the answers").fill("arithmetic-0007")
    page.locator(".kinds button").filter(has_text="All items").click()
    page.get_by_label("Search in the answers").fill("arithmetic-0007")
    assert items(page) == ["arithmetic-0007"]


def test_samples_are_saved_and_are_those_whose_digest_the_row_holds(visit, site, board, row):
    page = visit(site, samples_address(row, task="code"))
    page.locator("#samples .pair").first.wait_for()
    digest = row.result.tasks["code"].seeds[0].samples_sha256
    assert f"computed just now, is the row\u2019s, {digest[:12]}" in words(page, "#samples")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save A\u2019s samples").click()
    content = download.value.path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert content == publishable(board.samples_of(row, "code", 0))


def test_a_page_of_data_that_is_not_there_is_named(watched, board, write_site, tmp_path):
    site = write_site(tmp_path, board)
    for path in (site / "page").iterdir():
        path.unlink()
    page = watched(site, f"#row={board.rows[0].id}")
    assert "could not be read" in page.get_by_role("alert").inner_text()
