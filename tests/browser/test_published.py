"""The published leaderboard as a page: its log of retractions, the rows that are gone, and what can be taken along."""

import shutil
from pathlib import Path

import pytest

from harness.board.ledger import retract
from harness.board.publish import read_row
from harness.board.site.published import write_published_site

pytestmark = pytest.mark.timeout(240)

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
REASON = "it was trained on the questions"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The leaderboards of this repository without one of their rows, and their site."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(LEADERBOARDS, folder / "leaderboards")
    gone = next(path.stem for path in sorted((folder / "leaderboards" / "rows").iterdir()))
    retract(gone[:12], folder / "leaderboards", REASON)
    write_published_site(folder / "leaderboards", folder / "site")
    return folder / "leaderboards", folder / "site", read_row(folder / "leaderboards", gone)


def test_a_retracted_row_stands_in_the_log_alone(visit, published):
    _, site, gone = published
    page = visit(site)
    (entry,) = page.locator("#log .log li").filter(has_text="retracted").all()
    assert REASON in entry.inner_text()
    assert gone.id[:12] in entry.inner_text()
    assert page.locator(f"#table a[href*='{gone.id}']").count() == 0
    assert page.locator("#table tbody th a").count() > 0


def test_its_page_stays_and_says_that_it_was_retracted(visit, published):
    _, site, gone = published
    page = visit(site)
    page.locator("#log .log li a").first.click()
    page.get_by_role("heading", level=1, name=gone.result.arm, exact=True).wait_for()
    assert f"retracted: {REASON}" in page.locator("#row").inner_text()
    assert gone.id in page.locator("#row").text_content()


def test_files_are_taken_along_as_they_are(visit, published):
    leaderboards, site, _ = published
    page = visit(site)
    links = {link.inner_text(): link.get_attribute("href") for link in page.locator(".downloads a").all()}
    assert set(links) == {"board.json", "board.csv", "ledger.jsonl"}
    for name, address in links.items():
        assert address == name
        assert (site / name).stat().st_size > 0
        if (leaderboards / name).exists():
            assert (leaderboards / name).read_bytes() == (site / name).read_bytes()
    page.get_by_role("link", name="board.json").click()  # from disk a browser shows what a server's it would save
    page.wait_for_url((site / "board.json").as_uri())


def test_axe_finds_nothing_serious(visit, published, axe):
    assert axe(visit(published[1], scheme="dark")) == []
