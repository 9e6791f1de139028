"""Sites on disk: whole, complete, and the old one until the new one is there."""

import json
import shutil
from dataclasses import replace

import pytest

from harness.board import ledger
from harness.board.publish import read_board, read_row, run_samples, write_run, write_run_site
from harness.board.samples import publishable
from harness.board.site import write
from harness.board.site.published import write_published_site
from harness.errors import Failure, UserError


@pytest.fixture
def make_run(arms, info):
    def make_run(folder, **changed):
        write_run(folder, [replace(arm, **changed) for arm in arms], info)
        return folder

    return make_run


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def published(run, tmp_path):
    for line in read_board(run).lines:
        row = read_row(run, line.row)
        samples = {
            (name, part.seed): run_samples(run, row, name, part.seed)
            for name, task in row.result.tasks.items()
            for part in task.seeds
        }
        ledger.add(row, samples, tmp_path / "public")
    return tmp_path / "public"


def test_a_run_s_rows_and_samples_can_be_read_from_its_page(run, site):
    found = site(run)
    for line in found.content["boards"][0]["lines"]:
        held = json.loads(found.page(line["page"]))
        row = read_row(run, line["row"])
        assert held["row"].encode() == (run / "rows" / f"{row.id}.json").read_bytes()
        for name, task in row.result.tasks.items():
            for part in task.seeds:
                samples = found.page(held["samples"][part.samples_sha256])
                assert samples == publishable(run_samples(run, row, name, part.seed))
                assert b"the benchmark's own words" not in samples


def test_every_page_of_data_is_named_and_no_other_is_there(run, site, arms, info):
    def pages():
        found = site(run)
        rows = [line["page"] for line in found.content["boards"][0]["lines"]]
        return {*rows, *(name for row in rows for name in json.loads(found.page(row))["samples"].values())}

    first = pages()
    assert first == {f"page/{path.name}" for path in (run / "page").iterdir()}
    write_run(run, arms[:1], info)
    assert pages() < first
    assert pages() == {f"page/{path.name}" for path in (run / "page").iterdir()}


@pytest.mark.parametrize("survived", range(4))  # three rows' pages; the index is the fourth write
def test_an_interrupted_site_is_the_old_one(make_run, tmp_path, site, monkeypatch, survived):
    """Wherever the writing ends, the index that is there finds all its pages."""
    make_run(tmp_path)
    before = site(tmp_path).index
    left = iter(range(survived))
    whole = write.write_atomically

    def interrupted(path, content, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        whole(path, content, **options)

    monkeypatch.setattr(write, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_run(tmp_path, match="tokens of dmt")
    found = site(tmp_path)
    assert found.index == before
    for line in found.content["boards"][0]["lines"]:
        for name in json.loads(found.page(line["page"]))["samples"].values():
            found.page(name)


@pytest.mark.parametrize("left", [b"", None])  # as a file system may after a power cut
def test_pages_that_were_lost_are_written_again(run, arms, info, left):
    pages = {path: path.read_bytes() for path in (run / "page").iterdir()}
    for path in pages:
        path.unlink() if left is None else path.write_bytes(left)
    write_run(run, arms, info)
    assert {path: path.read_bytes() for path in (run / "page").iterdir()} == pages


def test_samples_that_were_altered_are_shown_without_what_is_not_ours(published, tmp_path, site):
    """A file that is not what its name says may hold prompts; the page has the fields that are published."""
    line = next(line for board in ledger.read_published(published).boards for line in board.lines)
    sha256 = read_row(published, line.row).result.tasks["chat"].seeds[0].samples_sha256
    path = published / "samples" / f"{sha256}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"id":', b'"target":"the benchmark\'s own words","id":'))
    write_published_site(published, tmp_path / "site")
    found = site(tmp_path / "site")
    row = next(one for one in found.content["boards"][0]["lines"] if one["row"] == line.row)
    assert found.page(json.loads(found.page(row["page"]))["samples"][sha256]) == whole


def test_a_published_site_stands_alone(published, tmp_path, site):
    write_published_site(published, tmp_path / "elsewhere")
    shutil.rmtree(published)
    found = site(tmp_path / "elsewhere")
    assert {one["name"] for one in found.content["downloads"]} == {"board.json", "board.csv", "ledger.jsonl"}
    for download in found.content["downloads"]:
        assert (tmp_path / "elsewhere" / download["name"]).stat().st_size > 0
    assert [line["since"][:2] for line in found.content["boards"][0]["lines"]] == ["20"] * 3
    assert found.content["ledger"]["entries"] == 3
    assert found.content["ledger"]["gone"] == []


def test_a_retracted_row_stays_in_the_log_with_its_page(published, tmp_path, site):
    gone = next(line for board in ledger.read_published(published).boards for line in board.lines if line.arm == "dmt")
    ledger.retract(gone.row[:12], published, "a <b>trial</b>")
    write_published_site(published, tmp_path / "site")
    found = site(tmp_path / "site")
    assert gone.row not in [line["row"] for line in found.content["boards"][0]["lines"]]
    (event,) = found.content["ledger"]["gone"]
    assert (event["kind"], event["reason"], event["row"]["arm"]) == ("retract", "a <b>trial</b>", "dmt")
    assert json.loads(json.loads(found.page(event["row"]["page"]))["row"])["id"] == gone.row


def test_a_board_without_rows_has_a_page(published, tmp_path, site):
    for board in ledger.read_published(published).boards:
        for line in board.lines:
            ledger.retract(line.row[:12], published, "a trial")
    write_published_site(published, tmp_path / "site")
    content = site(tmp_path / "site").content
    assert content["boards"] == []
    assert [one["name"] for one in content["downloads"]] == ["board.json", "ledger.jsonl"]


def test_pages_behind_a_link_are_left_alone(published, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.html").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=r"page is a link"):
        write_published_site(published, tmp_path / "site")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.html"]


def test_a_run_s_page_is_made_anew_elsewhere(run, tmp_path, site):
    """Whatever page the run came with."""
    before, board = site(run), (run / "leaderboard.json").read_bytes()
    pages = {path.name: path.read_bytes() for path in (run / "page").iterdir()}
    (run / "index.html").write_text("<script>alert('a stranger')</script>")
    shutil.rmtree(run / "page")
    write_run_site(run, tmp_path / "elsewhere")
    assert site(tmp_path / "elsewhere").content == before.content
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere" / "page").iterdir()} == pages
    assert (tmp_path / "elsewhere" / "leaderboard.json").read_bytes() == board


def test_a_site_that_cannot_be_written_is_named(published, tmp_path):
    (tmp_path / "site").write_text("a file stands where a folder should")
    with pytest.raises(Failure, match=r"cannot be written.*with harness board build --site"):
        write_published_site(published, tmp_path / "site")
