"""A board and its ledger are read as one, whoever adds rows meanwhile and whatever was taken away."""

from functools import partial

import pytest

from harness.board import ledger, snapshot
from harness.board.build import arm_samples, build_row
from harness.board.chain import GENESIS, LEDGER, read_chain
from harness.board.check import check_leaderboards
from harness.board.export.selection import Told, select
from harness.board.export.spreadsheet import as_csv
from harness.board.ledger import BOARD
from harness.board.outlet.contents import contents
from harness.board.site.published import write_published_site
from harness.errors import Failure, UserError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "leaderboards"


@pytest.fixture
def adds(arms, info, folder):
    """Publishes a row each."""

    def add(arm):
        samples = arm_samples(arm)
        ledger.add(build_row(arm, info, samples), samples, folder)

    return [partial(add, arm) for arm in arms]


@pytest.fixture
def published(adds, folder):
    """After each of three rows and a retraction, `board.json` and `ledger.jsonl` as they then were."""
    states = []
    for add in adds:
        add()
        states.append(((folder / BOARD).read_bytes(), (folder / LEDGER).read_bytes()))
    ledger.retract(ledger.read_ledger(folder)[1].row, folder, "a trial")
    return [*states, ((folder / BOARD).read_bytes(), (folder / LEDGER).read_bytes())]


READERS = {
    "export": lambda folder, _: as_csv(select(folder), Told()),
    "page": lambda folder, tmp_path: write_published_site(folder, tmp_path / "site"),
    "publish": lambda folder, _: contents(folder),
}


@pytest.mark.parametrize("entries", range(4))
def test_what_came_after_the_board_is_left_out(published, folder, entries):
    board, entered = published[entries]
    (folder / BOARD).write_bytes(board)
    found = snapshot.snapshot(folder)
    assert (found.board, found.ledger, len(found.chain.entries)) == (board, entered, entries + 1)
    assert found.published.ledger == found.chain.head
    assert {name: content.read() for name, content in contents(folder).items()}.items() >= {
        BOARD: board,
        LEDGER: entered,
    }.items()


def test_a_last_line_that_is_not_whole_is_left_out(published, folder):
    entered = published[-1][1]
    (folder / LEDGER).write_bytes(entered + b'{"kind":"add"')
    assert snapshot.snapshot(folder).ledger == entered
    (folder / LEDGER).write_bytes(entered.removesuffix(b"\n"))
    assert snapshot.snapshot(folder).ledger == entered.removesuffix(b"\n")


@pytest.mark.parametrize("reader", READERS)
def test_rows_that_are_added_in_that_moment_are_no_trouble(adds, folder, tmp_path, monkeypatch, reader):
    first, before, after = adds
    first()

    def read_between(leaderboards):
        before()
        content = ledger.board_content(leaderboards)
        after()
        return content

    monkeypatch.setattr(snapshot, "board_content", read_between)
    READERS[reader](folder, tmp_path)
    assert len(read_chain(folder).entries) == len(adds)
    assert check_leaderboards(folder) == []


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_ledger_that_lost_its_end_is_told_in_one_line_with_what_to_do(folder, tmp_path, reader, left):
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    (folder / LEDGER).write_bytes(b"".join(lines[:left]))
    with pytest.raises(Failure, match=r"was made from an entry that the ledger does not hold") as told:
        READERS[reader](folder, tmp_path)
    assert told.value.remedy == "restore ledger.jsonl from version control"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("reader", READERS)
def test_a_board_of_other_rows_than_its_entry_says_is_no_board_of_that_ledger(folder, tmp_path, reader):
    head = read_chain(folder).head
    (folder / BOARD).write_text((folder / BOARD).read_text().replace(head, GENESIS))
    with pytest.raises(Failure, match="is not made of the ledger beside it") as told:
        READERS[reader](folder, tmp_path)
    assert told.value.remedy == f"harness board build {folder}"


@pytest.mark.usefixtures("published")
def test_a_folder_without_a_board_is_named(folder):
    (folder / BOARD).unlink()
    with pytest.raises(UserError, match=r"board\.json cannot be read"):
        snapshot.snapshot(folder)
