"""What belongs to a board, and what another place lacks of it."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.outlet.contents import Changes, Content, Stored, changes, contents, refuse_another_ledger, summary
from harness.errors import Failure, UserError

FILES = st.dictionaries(
    st.sampled_from(["ledger.jsonl", "rows/a.json", "site/page/x.html", "site/index.html"]), st.binary()
)


def test_ledger_rows_samples_board_schemas_and_the_site_belong_and_nothing_else(public, belongs, tmp_path):
    (tmp_path / "site" / "page" / ".one.0123.html").write_text("half a page")
    here = contents(public, tmp_path / "site")
    assert {name: content.read() for name, content in here.items()} == belongs
    assert {name.partition("/")[0] for name in here} == {
        *("ledger.jsonl", "board.json", "rows", "samples", "schema", "site")
    }
    assert sum(name.startswith("rows/") for name in here) == 2
    assert sum(name.startswith("samples/") for name in here) == 6


def test_a_board_that_is_not_the_ledgers_is_refused(public):
    text = (public / "board.json").read_text()
    (public / "board.json").write_text(re.sub(r'"ledger": "\w+"', f'"ledger": "{"0" * 64}"', text))
    with pytest.raises(Failure, match="is not made of the ledger beside it"):
        contents(public)


@given(FILES, FILES)
def test_after_the_changes_the_place_holds_the_board_and_keeps_what_is_not_its_page(there, here):
    stored = {name: Stored(Content(content).blob) for name, content in there.items()}
    found = changes(stored, {name: Content(content) for name, content in here.items()})
    after = {name: content for name, content in there.items() if name not in found.removed}
    after |= {name: here[name] for name in found.sent}
    assert here.items() <= after.items()
    kept = after.keys() - here.keys()
    assert kept == {name for name in there if name not in here and name in ("ledger.jsonl", "rows/a.json")}
    assert bool(found) == (after != there)
    assert not set(found.added) & set(there)
    assert all(there[name] != here[name] for name in found.changed)


@given(st.binary())
def test_a_blobs_id_is_gits(content):
    done = subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True)
    assert Content(content).blob == done.stdout.decode().strip()


def test_large_files_are_known_by_their_sha256():
    assert Stored("pointer", sha256=Content(b"x").sha256).holds(Content(b"x"))
    assert not Stored(Content(b"x").blob, sha256="0" * 64).holds(Content(b"x"))


def test_a_ledger_that_this_one_goes_on_from_is_taken_and_any_other_refused():
    here = {"ledger.jsonl": Content(b"1\n2\n")}
    refuse_another_ledger(b"", here, "there")
    refuse_another_ledger(b"1\n", here, "there")
    for other in (b"1\n2\n3\n", b"2\n", b"1\n3\n"):
        with pytest.raises(UserError, match="the ledger in there has entries that this one has not"):
            refuse_another_ledger(other, here, "there")


def test_changes_in_words():
    found = Changes(("a", "b"), ("c",), ("d",))
    assert list(found.lines()) == ["+ a", "+ b", "~ c", "- d"]
    assert found.counts() == "2 added, 1 changed and 1 removed"
    assert Changes((), ("c",), ()).counts() == "1 changed"
    assert summary(["rows/a.json", "samples/b.jsonl"]) == "Publish 1 row"
    assert summary(["rows/a.json", "rows/b.json"]) == "Publish 2 rows"
    assert summary([]) == "Update the board"
