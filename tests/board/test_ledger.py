"""Publishing, retracting, and finding whatever was changed afterwards."""

import errno
import json
import multiprocessing
from dataclasses import replace

import pytest

from harness.board import ledger, writer
from harness.board.build import arm_samples, build_row
from harness.board.chain import RESTORE, read_chain
from harness.board.check import check_leaderboards, check_run
from harness.board.filecheck import INTERRUPTED
from harness.board.inputs import GitState
from harness.board.publish import samples_path, write_run
from harness.board.rows import Row, row_path
from harness.canonical import canonical, digest, file_digest
from harness.errors import Failure, UserError

TARGET = "the benchmark's own words"


def publish(arm, info, folder, **options):
    samples = arm_samples(arm)
    row = build_row(arm, info, samples)
    ledger.add(row, samples, folder, **options)
    return row


@pytest.fixture
def published(arms, info, tmp_path):
    """A folder with three published rows, and the rows."""
    folder = tmp_path / "leaderboards"
    return folder, [publish(arm, info, folder) for arm in arms]


def test_a_published_row_is_on_the_board_with_its_difference(published):
    folder, rows = published
    assert [entry.kind for entry in ledger.read_ledger(folder)] == ["add"] * 3
    (board,) = ledger.read_published(folder).boards
    assert {line.row for line in board.lines} == {row.id for row in rows}
    assert board.lines[0].composite.comparison.mark == "+"
    assert check_leaderboards(folder) == []


def test_published_samples_hold_no_prompt_and_no_target(published):
    folder, _ = published
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("samples/*"))
    assert TARGET not in text
    first = json.loads(text.split("\n", 1)[0])
    assert set(first) == {
        "id", "doc_sha256", "prompt_sha256", "response", "finish", "prompt_cut", "extracted", "scores", "outcome",
    }  # fmt: skip


HALF = "\ud83d"
"""Of a surrogate pair: JSON can spell it, and UTF-8 cannot."""


def test_half_a_character_in_an_answer_is_published_and_shown_as_json_spells_it(maker, info, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=4)
    seed = arm.seeds[0]
    evaluation = seed.evaluations["chat"]
    samples = evaluation.folder / "samples.jsonl"
    samples.write_text(samples.read_text().replace("answer\u2028", "answer\\ud83d"))
    evaluation = replace(evaluation, result={**evaluation.result, "samples_sha256": file_digest(samples)})
    arm = replace(arm, seeds=(replace(seed, evaluations={"chat": evaluation}),))
    write_run(tmp_path / "run", [arm], info)
    assert check_run(tmp_path / "run") == []
    folder = tmp_path / "leaderboards"
    row = publish(arm, info, folder)
    assert check_leaderboards(folder) == []
    read = ledger.published_samples(folder, row, "chat", 0)
    assert [sample["response"] for sample in read] == [f"answer{HALF}{number}" for number in range(4)]


def test_a_reason_holds_no_half_of_a_character(published):
    """As a terminal of another encoding hands it over; no reader of the ledger would take it."""
    folder, rows = published
    ledger.retract(rows[1].id, folder, "caf\udce9")
    assert [entry.reason for entry in ledger.read_ledger(folder)][-1] == "caf\\udce9"
    assert check_leaderboards(folder) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"git": GitState("0" * 40, dirty=True)}, "uncommitted changes"),
        ({"limit": 10}, "only the first 10 items"),
        ({"accepted_source": True}, "--accept-source"),
    ],
)
def test_what_may_not_be_published_says_why(maker, info, tmp_path, change, reason):
    with pytest.raises(UserError, match=reason):
        publish(maker.arm("sft", {"chat": 0.5}), replace(info, **change), tmp_path / "leaderboards")
    assert not (tmp_path / "leaderboards").exists()


def test_a_plugin_from_a_file_may_not_be_published(maker, info, tmp_path):
    arm = maker.arm("mine", {"chat": 0.5})
    arm = replace(arm, plugins=(replace(arm.plugins[0], distribution=None),))
    with pytest.raises(UserError, match="plug-in mine was loaded from a file"):
        publish(arm, info, tmp_path)


def test_all_reasons_are_said_at_once(maker, info, tmp_path):
    with pytest.raises(UserError, match=r"first 10 items.*; it ran with --accept-source"):
        publish(maker.arm("sft", {"chat": 0.5}), replace(info, limit=10, accepted_source=True), tmp_path)


def test_a_row_is_published_once(published, arms, info):
    folder, _ = published
    before = (folder / "ledger.jsonl").read_bytes()
    with pytest.raises(UserError, match="already published"):
        publish(arms[0], info, folder)
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_a_retracted_row_leaves_the_board_and_stays_in_the_ledger(published, arms, info):
    folder, rows = published
    ledger.retract(rows[1].id, folder, "trained on test items")
    (board,) = ledger.read_published(folder).boards
    assert rows[1].id not in {line.row for line in board.lines}
    assert ledger.read_ledger(folder)[-1].reason == "trained on test items"
    assert row_path(folder, rows[1].id).exists()
    assert check_leaderboards(folder) == []
    with pytest.raises(UserError, match="was retracted: trained on test items"):
        publish(arms[1], info, folder)
    with pytest.raises(UserError, match="no row"):
        ledger.retract(rows[1].id, folder, "again")


def test_a_retraction_is_no_other_with_the_same_reason(maker, info, tmp_path, monkeypatch):
    """Where the board lags behind a first one, the same words name the row that stands."""
    alike = {}
    for number in range(17):  # of so many ids, two begin with the same character
        samples = arm_samples(arm := maker.arm(f"arm{number}", {"chat": 0.5}, n=10, baseline=None))
        alike.setdefault(build_row(arm, info, samples).id[0], []).append(arm)
    prefix, arms = next((prefix, arms) for prefix, arms in alike.items() if len(arms) > 1)
    rows = [publish(arm, info, tmp_path / "to") for arm in arms[:2]]
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "refresh", lambda *_: False)  # the first is killed before it derives the board
        ledger.retract(rows[0].id, tmp_path / "to", "a trial")
    assert ledger.retract(prefix, tmp_path / "to", "a trial").row == rows[1].id
    assert read_chain(tmp_path / "to").standing() == []
    assert check_leaderboards(tmp_path / "to") == []


def test_a_row_takes_the_place_of_another(published, maker, info):
    folder, rows = published
    newer = maker.arm("dmt+im", {"arithmetic": 0.97, "code": 1.0, "chat": 0.99}, seeds=(7,))
    with pytest.raises(UserError, match="for no reason"):
        publish(newer, info, folder, supersedes=rows[2].id)
    row = publish(newer, info, folder, supersedes=rows[2].id, reason="a wider grid")
    standing = read_chain(folder).standing()
    assert row.id in standing
    assert rows[2].id not in standing
    assert check_leaderboards(folder) == []


def test_rows_of_another_recipe_stand_on_another_board(published, maker, info):
    folder, _ = published
    publish(maker.arm("im", {"chat": 0.5}), replace(info, recipe={"suite": "other"}), folder)
    assert sorted(len(board.lines) for board in ledger.read_published(folder).boards) == [1, 3]


def test_a_retracted_ledger_is_empty_and_right(maker, info, tmp_path):
    folder = tmp_path / "leaderboards"
    row = publish(maker.arm("sft", {"chat": 0.5}), info, folder)
    ledger.retract(row.id, folder, "a trial")
    assert ledger.read_published(folder).boards == ()
    assert check_leaderboards(folder) == []


def test_a_changed_entry_breaks_the_chain(published):
    folder, _ = published
    path = folder / "ledger.jsonl"
    lines = path.read_text().split("\n")
    entry = json.loads(lines[0]) | {"at": "2020-01-01T00:00:00+00:00"}
    path.write_text("\n".join([canonical(entry), *lines[1:]]))
    assert check_leaderboards(folder) == [f"{path}:2 does not follow from the line before it ({RESTORE})"]
    with pytest.raises(Failure, match="does not follow"):
        ledger.read_ledger(folder)


def test_a_removed_entry_breaks_the_chain(published):
    folder, _ = published
    path = folder / "ledger.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], *lines[2:]]))
    assert "does not follow" in check_leaderboards(folder)[0]


def test_a_changed_measurement_is_found(published):
    folder, rows = published
    path = row_path(folder, rows[0].id)
    path.write_text(path.read_text().replace('"processor": "test"', '"processor": "ours"'))
    assert f"rows/{rows[0].id}.json is not the file that the ledger names" in check_leaderboards(folder)


def test_a_changed_answer_is_found(published):
    folder, rows = published
    sha256 = rows[1].result.tasks["chat"].seeds[0].samples_sha256
    path = folder / "samples" / f"{sha256}.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace(":0.0", ":1.0", 1), encoding="utf-8")
    findings = check_leaderboards(folder)
    assert any(f"samples/{sha256}.jsonl has other bytes" in finding for finding in findings)
    assert any("(dmt): chat: score is" in finding for finding in findings)


def test_a_target_slipped_into_the_samples_is_found(published):
    folder, rows = published
    sha256 = rows[1].result.tasks["chat"].seeds[0].samples_sha256
    path = folder / "samples" / f"{sha256}.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"scores"', '"target":"x","scores"', 1), encoding="utf-8")
    assert check_leaderboards(folder) == [f"samples/{sha256}.jsonl has other bytes than its name says"]


def test_a_forged_row_with_a_right_digest_is_found(published):
    """Whoever rewrites a row, its id, the ledger and the board still has to answer to the samples."""
    folder, rows = published
    forged = rows[1].model_dump(mode="json")
    forged["result"]["tasks"]["chat"]["score"] = 0.9
    forged["id"] = digest(forged["result"])
    row = Row.model_validate(forged)
    row_path(folder, row.id).write_text(row.model_dump_json())
    entries = ledger.read_ledger(folder)
    sha256 = file_digest(row_path(folder, row.id))
    added = entries[-1].model_copy(update={"row": row.id, "row_sha256": sha256, "previous": entries[-1].digest})
    with (folder / "ledger.jsonl").open("a") as file:
        file.write(canonical(added.model_dump(mode="json")) + "\n")
    findings = check_leaderboards(folder)
    assert len(findings) == 3
    assert "chat: score is 0.9, and should be" in findings[0]
    assert f"with row {rows[1].id[:12]} (dmt), and so is about its model" in findings[1]
    assert "board.json is 1 entry behind the ledger" in findings[2]


def test_lost_samples_are_found(published):
    folder, rows = published
    sha256 = rows[0].result.tasks["code"].seeds[0].samples_sha256
    (folder / "samples" / f"{sha256}.jsonl").unlink()
    assert any("code" in finding and "cannot be read" in finding for finding in check_leaderboards(folder))


@pytest.mark.parametrize("deleted", [False, True])
def test_an_add_that_a_full_disk_interrupts_leaves_files_and_a_remedy(arms, info, tmp_path, monkeypatch, deleted):
    folder = tmp_path / "leaderboards"
    publish(arms[0], info, folder)

    def full(leaderboards, *_):
        raise OSError(errno.ENOSPC, "No space left on device", str(leaderboards / "ledger.jsonl"))

    with monkeypatch.context() as patched:
        patched.setattr(writer, "append", full)
        with pytest.raises(Failure, match=r"is full .*another place with --to"):
            publish(arms[1], info, folder)
    findings = check_leaderboards(folder)
    assert len(findings) == 4  # samples of three benchmarks, and the row
    assert all(one.endswith(f"is named by no entry of the ledger ({INTERRUPTED})") for one in findings)
    if deleted:
        for finding in findings:
            (folder / finding.partition(" ")[0]).unlink()
    else:
        publish(arms[1], info, folder)
    assert check_leaderboards(folder) == []
    assert len(ledger.read_ledger(folder)) == (1 if deleted else 2)


def test_a_stray_file_and_a_stale_board_are_found(published):
    folder, _ = published
    stray = folder / "samples" / f"{'0' * 64}.jsonl"
    stray.write_text("")
    assert check_leaderboards(folder) == [f"samples/{stray.name} is named by no entry of the ledger ({INTERRUPTED})"]
    stray.unlink()
    board = folder / "board.json"
    board.write_text(board.read_text().replace('"mark": "+"', '"mark": "-"', 1))
    assert any(finding.startswith("board.json: ") for finding in check_leaderboards(folder))
    ledger.write_derived(folder)
    assert check_leaderboards(folder) == []


def test_a_run_folder_is_checked_against_its_samples(arms, info, tmp_path):
    board = write_run(tmp_path, arms, info)
    assert check_run(tmp_path) == []
    path = tmp_path / "leaderboard.json"
    path.write_text(path.read_text().replace('"rank": 1', '"rank": 9'))
    assert check_run(tmp_path) == ["leaderboard.json: lines[0].rank is 9, and should be 1"]
    path = samples_path(tmp_path, board.lines[0].arm, "chat", 0)
    path.write_text(path.read_text(encoding="utf-8").replace(": 1.0", ": 0.0", 1), encoding="utf-8")
    assert any("chat: score is" in finding for finding in check_run(tmp_path))


def add_one(arm, info, folder):
    publish(arm, info, folder)


def test_writers_at_the_same_time_keep_the_chain(maker, info, tmp_path):
    arms = [maker.arm(name, {"chat": 0.5}, n=20) for name in ("sft", "im", "dmt", "base")]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_one, args=(arm, info, tmp_path / "leaderboards")) for arm in arms]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * 4
    assert len(ledger.read_ledger(tmp_path / "leaderboards")) == 4
    assert check_leaderboards(tmp_path / "leaderboards") == []


def test_a_crash_before_the_entry_leaves_what_the_same_command_completes(published, maker, info, monkeypatch):
    folder, _ = published
    arm = maker.arm("im", {"arithmetic": 0.9, "code": 0.9, "chat": 0.9})

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writer, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            publish(arm, info, folder)
    assert len(ledger.read_ledger(folder)) == 3
    publish(arm, info, folder)
    assert check_leaderboards(folder) == []


def test_what_a_killed_writer_left_is_removed_by_the_next(published, maker, info):
    folder, rows = published
    left = [folder / "rows" / f".{rows[0].id}.0123abcd.json", folder / "samples" / f".{rows[0].id}.0123abcd.jsonl"]
    for path in left:
        path.write_text("the first half of a fi", encoding="utf-8")
    publish(maker.arm("im", {"arithmetic": 0.9, "code": 0.9, "chat": 0.9}), info, folder)
    assert not any(path.exists() for path in left)
    assert check_leaderboards(folder) == []
