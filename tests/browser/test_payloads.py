"""Sixty texts that would run as code where a page took text for markup, in every text of rows, samples and ledger.

They come to the page as they would in earnest: through the models, the board and the site's builder.
"""

import re

import pytest

from harness.board.board import build_board
from harness.board.rows import Row
from harness.board.samples import publishable, scores_by_item
from harness.board.site.content import Event, History
from harness.board.site.write import write_site
from harness.testing.boards import SCORE
from harness.testing.hostile import DIGEST, LITERALS, PAYLOADS, hostile_row, hostile_samples

pytestmark = pytest.mark.timeout(400)


def test_there_are_sixty_different_texts():
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 60


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The site of sixty rows, each with its payload, and of a row whose benchmarks are called by all of them."""
    names = [" ".join(PAYLOADS[start::2]) for start in range(2)]
    samples, rows = {}, []
    for place in range(60):
        swept = f"{PAYLOADS[place // 2]}@x.k={place}" if place in range(10) else PAYLOADS[place]
        rows.append(hostile_row(place, names, swept))
        samples[rows[-1].id] = hostile_samples(place)
    many = hostile_row(0, PAYLOADS, "benchmarks")
    samples[many.id] = hostile_samples(0)

    def scores_of(row, _, __):
        return scores_by_item(samples[row.id], SCORE)

    events = [Event("add", row.id, "2026-01-01T00:00:00+00:00") for row in rows]
    events += [
        Event("retract", row.id, "2026-01-02T00:00:00+00:00", reason=text)
        for row, text in zip(rows, PAYLOADS, strict=True)
    ]
    folder = tmp_path_factory.mktemp("hostile")
    write_site(
        folder,
        [build_board(rows, scores_of), build_board([many], scores_of)],
        {row.id: row for row in (*rows, many)},
        lambda row, _, __: publishable(samples[row.id]),
        history=History(tuple(events), head=" ".join(PAYLOADS)),
    )
    return folder, rows, many


def strings(value):
    if isinstance(value, dict):
        for key, of in value.items():
            yield key
            yield from strings(of)
    elif isinstance(value, list):
        for of in value:
            yield from strings(of)
    elif isinstance(value, str):
        yield value


def test_no_text_of_a_row_was_left_out(hostile):
    """What a row's strings are beside payloads: names of fields, digests, literals, and numbers as text."""
    _, rows, _ = hostile
    row = rows[20].model_dump(mode="json")
    text = PAYLOADS[20]
    schema = set(re.findall(r'"([a-z_0-9]+)":', Row.model_validate(row).model_dump_json()))
    left = {
        one for one in strings(row) if text not in one and not DIGEST.fullmatch(one) and one not in LITERALS | schema
    }
    assert {one for one in left if one not in (" ".join(PAYLOADS), *row["result"]["tasks"])} <= {
        SCORE,
        "scored",
        *PAYLOADS,
    }


def test_the_board_shows_them_as_text(hostile, visit):
    folder, rows, _ = hostile
    page = visit(folder)
    arms = page.locator("#table tbody th a").all_inner_texts()
    assert {" ".join(arm.split()) for arm in arms} == {" ".join(row.result.arm.split()) for row in rows}
    assert page.locator("#title").text_content() == " ".join([*PAYLOADS, "1"])  # the suite's name and version
    log = page.locator("#log").text_content()
    head = page.locator("#table thead").text_content()
    for text in PAYLOADS:
        assert f"{text}" in log
        assert text in head
    page.locator("#charts").scroll_into_view_if_needed()
    page.locator("#curves").wait_for()
    drawn = page.locator("#charts").text_content()
    assert all(text in drawn for text in PAYLOADS[:5])
    for menu in page.locator(".menu").all():
        menu.locator("summary").click()
        menu.locator("label").first.wait_for()
    assert page.locator("#board script, #board img, #board iframe, #board style, #board link").count() == 0


def test_they_are_searched_filtered_and_kept_in_the_address(hostile, visit):
    folder, rows, _ = hostile
    page = visit(folder)
    for place in (20, 33, 47):
        page.get_by_label("Search rows").fill(PAYLOADS[place].split()[0])
    page.get_by_label("Search rows").fill("")
    page.locator(".menu[data-menu='model'] summary").click()
    page.locator(".menu[data-menu='model'] input[type='search']").fill("</textarea><img")
    page.locator(".menu[data-menu='model'] label").first.click()
    chip = page.locator(".chip").first.text_content()
    (chosen,) = [row for row in rows if str(row.result.model["id"]) in chip and "</textarea>" in row.result.model["id"]]
    again = visit(folder, page.evaluate("location.hash"))
    assert again.locator("#table tbody th a").all_inner_texts() == [chosen.result.arm]
    assert again.locator(".chip").first.text_content() == chip


def test_every_row_shows_its_own_as_text(hostile, visit):
    folder, rows, _ = hostile
    page = visit(folder)
    for row, text in zip(rows, PAYLOADS, strict=True):
        page.evaluate("(row) => { location.hash = `row=${row}` }", row.id)
        page.get_by_role("button", name="Save this row as JSON").wait_for()
        page.wait_for_function("(arm) => document.querySelector('#row h1')?.textContent === arm", arg=row.result.arm)
        said = page.locator("#row").text_content()
        assert said.count(text) > 10, text
        assert row.measured.command in said
        assert f"retracted: {text}" in said
        assert page.locator("#row script, #row img, #row iframe, #row style, #row link").count() == 0


def test_samples_show_them_as_text(hostile, visit):
    folder, rows, _ = hostile
    name = next(iter(rows[0].result.tasks))
    page = visit(folder, f"#row={rows[30].id}")
    page.get_by_role("link", name="seed 0").first.click()
    page.locator("#samples .pair").first.wait_for()
    other = page.locator(".choice").filter(has=page.get_by_text("B", exact=True)).locator("select")
    other.select_option(rows[31].id)
    page.locator("#samples .sides.two").first.wait_for()
    page.locator(".kinds button").filter(has_text="All items").click()
    page.locator("#samples .more").click()
    answers = page.locator("#samples pre.response").all_text_contents()
    assert answers[::2] == [PAYLOADS[(item + 30) % 60] for item in by_name(range(60))]
    assert answers[1::2] == [PAYLOADS[(item + 31) % 60] for item in by_name(range(60))]
    heads = page.locator("#samples .pair h2").all_text_contents()
    assert all(PAYLOADS[item] in head for item, head in zip(by_name(range(60)), heads, strict=True))
    assert name in page.locator("#samples").text_content()
    assert page.locator("#samples script, #samples img, #samples iframe, #samples style").count() == 0


def by_name(items):
    """In the order of published samples: by id."""
    return sorted(items, key=lambda item: PAYLOADS[item])


def test_benchmarks_are_called_by_them(hostile, visit):
    folder, _, many = hostile
    page = visit(folder, f"#row={many.id}")
    page.locator("#row table").first.wait_for()
    assert page.locator("#row table").first.locator("tbody th").count() == 60
    names = page.locator("#row table").first.locator("tbody th").all_text_contents()
    for name, cell in zip(many.result.tasks, names, strict=True):
        assert cell.startswith(name)
    page.get_by_role("link", name="seed 0").nth(7).click()
    page.locator("#samples .pair").first.wait_for()
    assert page.locator("#samples select").first.input_value() == list(many.result.tasks)[7]
