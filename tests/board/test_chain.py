"""The ledger's file: appended to, read while it grows, and mended after a writer was killed."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.board.chain import GENESIS, LEDGER, Chain, Entry, append, parse_chain, read_chain
from harness.errors import Failure, UserError


def entry(number, previous):
    row = hashlib.sha256(str(number).encode()).hexdigest()
    return Entry(
        kind="add", row=row, row_sha256=row, reason="ä\u2028\n", at="2026-01-01T00:00:00+00:00", previous=previous
    )


def written(folder, n):
    chain = Chain()
    for number in range(n):
        chain = append(folder, chain, entry(number, chain.head))
    return chain


def test_what_is_appended_is_read(tmp_path):
    chain = written(tmp_path, 3)
    assert read_chain(tmp_path) == chain
    assert [one.row for one in chain.entries] == [entry(n, GENESIS).row for n in range(3)]
    assert chain.size == (tmp_path / LEDGER).stat().st_size


def test_each_entry_holds_the_digest_of_the_line_before(tmp_path):
    """Which `sha256sum` gives as well, without a parser."""
    written(tmp_path, 3)
    lines = (tmp_path / LEDGER).read_bytes().splitlines()
    assert [json.loads(line)["previous"] for line in lines] == [
        GENESIS,
        *(hashlib.sha256(line).hexdigest() for line in lines[:-1]),
    ]


def test_no_ledger_is_an_empty_one(tmp_path):
    assert read_chain(tmp_path) == Chain()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_cut_anywhere_it_holds_the_whole_entries_and_goes_on(data, tmp_path_factory):
    """As a killed writer leaves it. An entry that lacks its line break alone is whole."""
    folder = tmp_path_factory.mktemp("ledger")
    whole = written(folder, 3)
    path = folder / LEDGER
    content = path.read_bytes()
    ends = [number for number, byte in enumerate(content) if byte == ord("\n")]
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    chain = read_chain(folder)
    assert chain.entries == whole.entries[: sum(end <= cut for end in ends)]
    assert chain.torn == (cut not in {0, *ends, *(end + 1 for end in ends)})
    for number in range(len(chain.entries), 3):
        chain = append(folder, chain, entry(number, chain.head))
    assert path.read_bytes() == content or not chain.ended


def test_a_later_append_ends_the_line_before_it(tmp_path):
    written(tmp_path, 2)
    path = tmp_path / LEDGER
    content = path.read_bytes()
    path.write_bytes(content.removesuffix(b"\n"))
    chain = read_chain(tmp_path)
    assert (len(chain.entries), chain.ended, chain.torn) == (2, False, False)
    append(tmp_path, chain, entry(2, chain.head))
    assert path.read_bytes().startswith(content)
    assert len(read_chain(tmp_path).entries) == 3


def test_only_the_last_line_may_be_torn(tmp_path):
    written(tmp_path, 3)
    path = tmp_path / LEDGER
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:40] + b"\n" + lines[2])
    with pytest.raises(Failure, match=r"ledger\.jsonl:2 is not an entry"):
        read_chain(tmp_path)


def test_a_newer_entry_asks_for_an_upgrade(tmp_path):
    newer = json.dumps({**json.loads(entry(0, GENESIS).line()), "schema_version": 2, "signature": "x"}).encode()
    with pytest.raises(UserError, match=r":1 has schema_version 2, which .* does not know \(upgrade it: pip install"):
        parse_chain(newer + b"\n", tmp_path / LEDGER)


def test_how_far_behind_counts_entries(tmp_path):
    chain = written(tmp_path, 3)
    assert [chain.behind(head) for head in (GENESIS, *chain.digests)] == [3, 2, 1, 0]
