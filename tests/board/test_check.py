"""What `harness board check` finds in published folders that somebody has changed: the real one, and made ones.

Some changes are clumsy. Others are `forged`: whoever made them computed every digest again, up to the board.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board import ledger
from harness.board.build import arm_samples, build_row
from harness.board.chain import GENESIS, RESTORE, read_chain
from harness.board.check import check_leaderboards
from harness.board.filecheck import INTERRUPTED
from harness.board.rows import row_path
from harness.board.samples import samples_file
from harness.canonical import canonical, digest, file_digest
from harness.cli.board import app
from harness.errors import Failure, UserError

SKILL = "playground_arithmetic"
PUBLISHED = Path(__file__).parents[2] / "leaderboards"


@pytest.fixture
def folder(tmp_path):
    """A copy of what this repository publishes."""
    return Path(shutil.copytree(PUBLISHED, tmp_path / "leaderboards"))


def ids(folder):
    """Arm to the row's id."""
    return {row.result.arm: row_id for row_id, row in ledger.published_rows(folder).items()}


def edit(path, change):
    """Change a JSON file as somebody with an editor would."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def chained(folder, entries):
    """Write the ledger with these entries, each following from the one before it, and the board that shows them."""
    (folder / "board.json").unlink(missing_ok=True)  # which would tell that entries were lost
    lines, previous = [], GENESIS
    for entry in entries:
        following = entry.model_copy(update={"previous": previous})
        previous = following.digest
        lines.append(following.line() + b"\n")
    (folder / "ledger.jsonl").write_bytes(b"".join(lines))
    ledger.write_derived(folder)


def forged(folder, arm, change, *, add=False):
    """Change what a row says, or `add` the changed row, and compute all that follows; returns the new id."""
    old = ids(folder)[arm]
    row = json.loads(row_path(folder, old).read_text(encoding="utf-8"))
    change(row["result"])
    new = digest(row["result"])
    row_path(folder, new).write_text(json.dumps({**row, "id": new}, indent=2, ensure_ascii=False), encoding="utf-8")
    entries = list(ledger.read_ledger(folder))
    known = {"row": new, "row_sha256": file_digest(row_path(folder, new))}
    if add:
        entries.append(next(entry for entry in entries if entry.row == old).model_copy(update=known))
    else:
        row_path(folder, old).unlink()
        entries = [entry.model_copy(update=known) if entry.row == old else entry for entry in entries]
    chained(folder, entries)
    return new


def remeasured(folder, arm, change):
    """Change what a row says of its making, and compute all that follows; returns its id, which stays."""
    row = ids(folder)[arm]
    edit(row_path(folder, row), lambda it: change(it["measured"]))
    sha256 = file_digest(row_path(folder, row))
    entries = ledger.read_ledger(folder)
    chained(folder, [one.model_copy(update={"row_sha256": sha256}) if one.row == row else one for one in entries])
    return row


def samples_of(folder, arm, benchmark, seed=0):
    """The file of one evaluation."""
    part = ledger.published_rows(folder)[ids(folder)[arm]].result.part(benchmark, seed)
    return samples_file(folder, part.samples_sha256)


def test_the_published_leaderboard_holds():
    assert check_leaderboards(PUBLISHED) == []


# --- scores and samples ----------------------------------------------------------------------------------------------


def test_a_changed_score_of_a_sample(folder):
    path, row = samples_of(folder, "dmt", SKILL), ids(folder)["dmt"][:12]
    path.write_text(path.read_text(encoding="utf-8").replace(":0.0", ":1.0", 1), encoding="utf-8")
    findings = check_leaderboards(folder)
    assert f"samples/{path.name} has other bytes than its name says" in findings
    assert any(finding.startswith(f"row {row} (dmt): {SKILL}: seeds[0].score is ") for finding in findings)


def test_a_changed_score_of_a_row(folder):
    row = ids(folder)["dmt"]
    edit(row_path(folder, row), lambda it: it["result"]["tasks"][SKILL].update(score=0.99))
    findings = check_leaderboards(folder)
    assert f"rows/{row}.json is not the file that the ledger names" in findings
    assert any(f"{row}.json is not a row" in one and "the digest of its result" in one for one in findings)


def test_a_forged_score(folder):
    row = forged(folder, "dmt", lambda it: it["tasks"][SKILL].update(score=0.99))
    (finding,) = [one for one in check_leaderboards(folder) if "composite" not in one]
    assert finding.startswith(f"row {row[:12]} (dmt): {SKILL}: score is 0.99, and should be 0.")


def test_a_forged_composite(folder):
    row = forged(folder, "dmt", lambda it: it["composite"].update(score=0.99))
    (finding,) = check_leaderboards(folder)
    assert finding.startswith(f"row {row[:12]} (dmt): composite: score is 0.99, and should be 0.")


def test_a_dropped_sample(folder):
    path, row = samples_of(folder, "dmt", SKILL), ids(folder)["dmt"][:12]
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    findings = check_leaderboards(folder)
    assert f"row {row} (dmt): {SKILL}: seeds[0].n_scored is 200, and should be 199" in findings
    assert f"samples/{path.name} has other bytes than its name says" in findings


def test_a_forged_count(folder):
    row = forged(folder, "dmt", lambda it: it["tasks"][SKILL].update(n_scored=601))
    (finding,) = check_leaderboards(folder)
    assert finding == f"row {row[:12]} (dmt): {SKILL}: n_scored is 601, and should be 600"


def test_two_files_of_samples_that_changed_places(folder):
    here, there = (samples_of(folder, arm, SKILL) for arm in ("dmt", "sft"))
    mine, theirs = here.read_bytes(), there.read_bytes()
    here.write_bytes(theirs)
    there.write_bytes(mine)
    findings = check_leaderboards(folder)
    for path, arm in ((here, "dmt"), (there, "sft")):
        assert f"samples/{path.name} has other bytes than its name says" in findings
        row = ids(folder)[arm][:12]
        assert any(one.startswith(f"row {row} ({arm}): {SKILL}: seeds[0].samples_sha256") for one in findings)


def test_the_samples_of_another_row_under_a_forged_one(folder):
    other = samples_of(folder, "dmt+im", SKILL).stem
    row = forged(folder, "dmt", lambda it: it["tasks"][SKILL]["seeds"][0].update(samples_sha256=other))
    findings = check_leaderboards(folder)
    assert any(one.startswith(f"row {row[:12]} (dmt): {SKILL}: seeds[0].score is ") for one in findings)


def test_lost_samples(folder):
    path, row = samples_of(folder, "dmt", SKILL), ids(folder)["dmt"][:12]
    path.unlink()
    (finding,) = check_leaderboards(folder)
    assert finding.startswith(f"row {row} (dmt): {SKILL}: {path} cannot be read")


def test_samples_of_other_items(maker, info, proposed, tmp_path):
    """Of two more rows, one leaves out an item that it would have got wrong, and one has an item of its own."""
    folder = tmp_path / "leaderboards"
    for name in ("sft", "im", "dmt"):
        samples = arm_samples(arm := maker.arm(name, {"chat": 0.5}, n=20, baseline=None))
        ledger.add(build_row(arm, info, samples), samples, folder)
    fewer = maker.arm("fewer", {"chat": 0.5}, n=19, baseline=None)
    other = maker.arm("other", {"chat": 0.5}, n=20, baseline=None)
    path = other.seeds[0].evaluations["chat"].folder / "samples.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("chat-0007", "chat-7007"), encoding="utf-8")
    other.seeds[0].evaluations["chat"].result["samples_sha256"] = file_digest(path)
    for arm, said in (
        (fewer, "19 items were asked, and 20 of other rows"),
        (other, "1 items are none that other rows were asked, the first is chat-7007"),
    ):
        samples = arm_samples(arm)
        row = build_row(arm, info, samples)
        with pytest.raises(UserError, match=f"chat, seed 0: {said}"):
            ledger.add(row, samples, folder)
        place = shutil.copytree(folder, tmp_path / arm.id)
        proposed(place, row, samples)
        assert check_leaderboards(place) == [f"row {row.id[:12]} ({arm.id}): chat, seed 0: {said}"]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_changed_recipe(folder):
    row = ids(folder)["dmt"]
    edit(row_path(folder, row), lambda it: it["result"]["recipe"]["train"].update(lr=1.0))
    findings = check_leaderboards(folder)
    assert any(f"{row}.json is not a row" in one and "the digest of its result" in one for one in findings)


def test_a_forged_recipe(folder):
    row = forged(folder, "dmt", lambda it: it["recipe"]["train"].update(lr=1.0))
    assert check_leaderboards(folder) == [f"row {row[:12]} (dmt): recipe_sha256 is not the recipe's digest"]


def test_a_changed_measurement(folder):
    row = ids(folder)["dmt"]
    edit(row_path(folder, row), lambda it: it["measured"].update(seconds=1.0))
    assert check_leaderboards(folder)[0] == f"rows/{row}.json is not the file that the ledger names"


def test_a_row_under_another_rows_name(folder):
    mine, theirs = (ids(folder)[arm] for arm in ("dmt", "sft"))
    shutil.copy(row_path(folder, theirs), row_path(folder, mine))
    assert f"rows/{mine}.json holds another row, {theirs[:12]}" in check_leaderboards(folder)


def test_a_row_that_says_the_same_as_another(folder):
    """Published again with another version of a plug-in, so that its id differs."""
    first = ids(folder)["dmt"]
    row = forged(folder, "dmt", lambda it: it["plugins"][0].update(version="9.9"), add=True)
    assert check_leaderboards(folder) == [f"row {row[:12]} (dmt): says the same as row {first[:12]} (dmt)"]


@pytest.fixture
def alone(maker, info, tmp_path):
    """The one arm of a board, its row, its samples and the board's folder."""
    arm = maker.arm("sft", {"chat": 0.5}, n=20, baseline=None)
    samples, place = arm_samples(arm), tmp_path / "own"
    row = build_row(arm, info, samples)
    ledger.add(row, samples, place)
    return arm, row, samples, place


def test_a_row_that_is_put_back_after_its_retraction(alone, info, proposed):
    """With another version of a plug-in, so that its id differs."""
    arm, row, samples, place = alone
    ledger.retract(row.id, place, "trained on the test set")
    again = build_row(replace(arm, plugins=tuple(replace(one, version="9.9") for one in arm.plugins)), info, samples)
    said = f"says the same as {row.id[:12]}, which was retracted: trained on the test set"
    with pytest.raises(UserError, match=said):
        ledger.add(again, samples, place)
    proposed(place, again, samples)
    gone = f"row {row.id[:12]} (sft), which was retracted: trained on the test set"
    assert check_leaderboards(place) == [f"row {again.id[:12]} (sft): says the same as {gone}"]


def test_a_model_published_again_under_other_seeds(alone, maker, info, proposed):
    arm, row, _, place = alone
    copied = replace(arm, seeds=tuple(replace(one, seed=one.seed + 5) for one in arm.seeds))
    samples = arm_samples(copied)
    again = build_row(copied, info, samples)
    with pytest.raises(UserError, match=f"shares the job .* with row {row.id[:12]} .sft., and so is about its model"):
        ledger.add(again, samples, place)
    proposed(place, again, samples)
    (finding,) = check_leaderboards(place)
    assert finding.endswith(f"with row {row.id[:12]} (sft), and so is about its model")
    honest = maker.arm("im", {"chat": 0.5}, n=20, baseline=None)
    samples = arm_samples(honest)
    ledger.add(build_row(honest, info, samples), samples, place)  # which is not to blame


@pytest.mark.parametrize("name", ["", " dmt", "dmt\n", "\u202efts", "dmt\x1b[2J", "d" * 501, "e\u0301"])
def test_an_arm_that_is_called_by_no_name(folder, name):
    row = forged(folder, "dmt", lambda it: it.update(arm=name))
    said = "its arm cannot be called so: a name is one printable line of at most 500 characters"
    assert any(one.startswith(f"row {row[:12]}") and one.endswith(said) for one in check_leaderboards(folder))


@pytest.mark.parametrize(
    ("name", "foreign"), [("s\u0455ft", "s\u0455ft"), ("neftune", "neftune"), ("dmt+im@lr=1", "im")]
)
def test_an_arm_in_the_name_of_another_method(folder, name, foreign):
    row = forged(folder, "dmt", lambda it: it.update(arm=name))
    said = f"row {row[:12]} ({name}): it is called {name}, and no plug-in {foreign} took part in it"
    assert said in check_leaderboards(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": 1e-6}, "measured.seconds is 1e-06, and should be"),
        ({"device_hours": 1e9}, "measured.device_hours is 1000000000.0, and should be"),
        ({"peak_bytes": 1}, "measured.peak_bytes is 1, and should be"),
        ({"restarted": ["train 7"]}, "measured.restarted"),
    ],
)
def test_a_forged_measurement(folder, change, said):
    row = remeasured(folder, "dmt", lambda measured: measured.update(change))
    (finding,) = check_leaderboards(folder)
    assert finding.startswith(f"row {row[:12]} (dmt): {said}")


@pytest.mark.parametrize("amount", [-1, "abc", None])
def test_an_amount_that_is_none(folder, amount):
    row = ids(folder)["dmt"]
    edit(row_path(folder, row), lambda it: it["measured"]["jobs"][0]["measured"].update(seconds=amount))
    assert any(f"seconds is {amount!r}, and no amount" in finding for finding in check_leaderboards(folder))


def test_a_name_said_twice_in_a_row(folder):
    path = row_path(folder, ids(folder)["dmt"])
    path.write_text(path.read_text(encoding="utf-8").replace('"arm":', '"arm": "sft", "arm":', 1), encoding="utf-8")
    assert any("is not a row: it says arm twice in one place" in one for one in check_leaderboards(folder))


@pytest.mark.parametrize("groups", [{"all": [SKILL]}, {"all": [SKILL, SKILL]}, {"mine": ["playground_chat"] * 500}])
def test_groups_of_its_own(folder, groups):
    """By which a row would weigh its benchmarks otherwise than the rows beside it."""
    old = ids(folder)["dmt"]
    path = row_path(folder, old)
    edit(path, lambda it: it["result"]["suite"].update(groups=groups))
    edit(path, lambda it: it.update(id=digest(it["result"])))
    assert any("groups divide the benchmarks of a suite with a version" in one for one in check_leaderboards(folder))


def test_add_refuses_a_row_that_says_the_same_as_another(maker, info, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=20)
    samples = arm_samples(arm)
    first, second = (build_row(one, info, samples) for one in (arm, newer(arm)))
    assert first.id != second.id
    ledger.add(first, samples, tmp_path / "to")
    with pytest.raises(UserError, match=f"says the same as {first.id[:12]}, which is published"):
        ledger.add(second, samples, tmp_path / "to")
    ledger.add(second, samples, tmp_path / "to", supersedes=first.id, reason="a newer plug-in")
    assert check_leaderboards(tmp_path / "to") == []


def newer(arm):
    """The arm under another version of its plug-in."""
    return replace(arm, plugins=(replace(arm.plugins[0], version="1.1"),))


# --- judges ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def judged_folder(maker, judged, judging, tmp_path):
    """Two rows whose chat was judged, and whose code was not."""
    folder = tmp_path / "leaderboards"
    for name in ("sft", "im"):
        arm = judged(maker.arm(name, {"chat": 0.5, "code": 0.5}, n=20, baseline=None), "chat")
        samples = arm_samples(arm)
        ledger.add(build_row(arm, judging, samples), samples, folder)
    assert check_leaderboards(folder) == []
    return folder


def chat(result):
    return result["seeds"][0]["evaluations"]["chat"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: chat(it)["prompts"].pop("judge"), "does not say who judged it, by name and model"),
        (lambda it: chat(it)["prompts"]["judge"].pop("model"), "does not say who judged it, by name and model"),
        (lambda it: chat(it)["prompts"]["judge"].update(name=""), "does not say who judged it, by name and model"),
        (lambda it: chat(it)["prompts"].update(judge="somebody"), "does not say who judged it, by name and model"),
        (
            lambda it: (
                chat(it)["prompts"].pop("judge"),
                chat(it).pop("needs"),
            ),  # the other row was judged all the same
            "does not say who judged it, by name and model",
        ),
        (
            lambda it: chat(it)["prompts"]["judge"].update(model="a better one"),
            "was judged by a better one, whom the recipe does not name",
        ),
    ],
)
def test_a_judge_without_identity(judged_folder, change, said):
    row = forged(judged_folder, "im", change)
    assert check_leaderboards(judged_folder) == [f"row {row[:12]} (im): chat: seed 0 {said}"]


def test_a_judge_that_only_the_samples_show(maker, info, proposed, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=20)
    failed = maker.evaluation("failed", "chat", 0, [1.0] * 199 + [None], outcome="judge_refused")
    arm = replace(arm, seeds=(replace(arm.seeds[0], evaluations={"chat": failed}),))
    samples = arm_samples(arm)
    row = build_row(arm, info, samples)
    with pytest.raises(UserError, match="cannot be published: chat: seed 0 does not say who judged it"):
        ledger.add(row, samples, tmp_path / "to")
    proposed(tmp_path / "to", row, samples)
    (finding,) = check_leaderboards(tmp_path / "to")
    assert finding == f"row {row.id[:12]} (sft): chat: seed 0 does not say who judged it, by name and model"


# --- the ledger ------------------------------------------------------------------------------------------------------


def lines_of(folder):
    return (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
        (lambda lines: [lines[0], lines[1].replace(b"2026", b"2025"), *lines[2:]], 3),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
        (lambda lines: [lines[0], lines[1].replace(b'":', b'": '), *lines[2:]], 3),
    ],
    ids=["removed", "first removed", "reordered", "edited", "repeated", "written otherwise"],
)
def test_a_broken_chain(folder, change, number):
    path = folder / "ledger.jsonl"
    path.write_bytes(b"".join(change(lines_of(folder))))
    assert check_leaderboards(folder) == [f"{path}:{number} does not follow from the line before it ({RESTORE})"]


def test_entries_missing_at_the_end(folder):
    head, last = read_chain(folder).head, read_chain(folder).entries[-1].row
    (folder / "ledger.jsonl").write_bytes(b"".join(lines_of(folder)[:-1]))
    findings = check_leaderboards(folder)
    said = f"board.json was made from the entry {head[:12]}, which the ledger does not hold ({RESTORE})"
    assert said in findings
    assert f"rows/{last}.json is named by no entry of the ledger ({INTERRUPTED})" in findings
    with pytest.raises(Failure, match="made from an entry that the ledger does not hold"):
        ledger.retract(ids(folder)["dmt"], folder, "or else the loss would be covered up")


def test_a_board_made_anew_tells_of_no_lost_entries_and_so_is_not_made(folder):
    """Or a retraction could be cut off and covered up by `harness board build`."""
    ledger.retract(ids(folder)["dmt"], folder, "fraud")
    before = (folder / "board.json").read_bytes()
    (folder / "ledger.jsonl").write_bytes(b"".join(lines_of(folder)[:-1]))
    with pytest.raises(Failure, match="made from an entry that the ledger does not hold"):
        ledger.write_derived(folder)
    assert (folder / "board.json").read_bytes() == before


def test_a_board_that_is_none_is_made_anew(folder):
    (folder / "board.json").write_text("{", encoding="utf-8")
    ledger.write_derived(folder)
    assert check_leaderboards(folder) == []


def test_an_edited_last_entry(folder):
    head = read_chain(folder).head
    lines = lines_of(folder)
    (folder / "ledger.jsonl").write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"2026", b"2025")]))
    said = f"board.json was made from the entry {head[:12]}, which the ledger does not hold ({RESTORE})"
    row = json.loads(lines[-1])["row"][:12]
    dated, lost = check_leaderboards(folder)
    assert dated.startswith(f"ledger.jsonl:{len(lines)}: row {row} is of 2025-")
    assert lost == said


@pytest.mark.parametrize("at", ["yesterday", "", "2026-11-20T12:00:00"])
def test_an_entry_of_no_time(folder, at):
    lines = lines_of(folder)
    entry = {**json.loads(lines[0]), "at": at}
    (folder / "ledger.jsonl").write_bytes(b"".join([canonical(entry).encode() + b"\n", *lines[1:]]))
    (finding,) = check_leaderboards(folder)
    assert "ledger.jsonl:1 is not an entry: at " in finding


def test_an_entry_from_before_the_one_before(folder):
    entries = ledger.read_ledger(folder)
    chained(folder, [*entries[:-1], entries[-1].model_copy(update={"at": "1999-01-01T00:00:00+00:00"})])
    row = f"ledger.jsonl:{len(entries)}: row {entries[-1].row[:12]}"
    assert check_leaderboards(folder) == [f"{row} is of 1999-01-01T00:00:00+00:00, before the entries above it"]


def test_a_line_that_is_no_entry(folder):
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "add"}\n')
    (finding,) = check_leaderboards(folder)
    assert finding.startswith(f"{path}:6 is not an entry: ")


def test_an_entry_that_was_not_written_to_its_end(folder):
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":"2026-')
    (finding,) = check_leaderboards(folder)
    assert finding.startswith("ledger.jsonl ends in an entry that was not written to its end")


def test_a_board_that_is_behind(folder):
    before = (folder / "board.json").read_bytes()
    ledger.retract(ids(folder)["dmt"], folder, "a trial")
    (folder / "board.json").write_bytes(before)
    (finding,) = check_leaderboards(folder)
    assert finding.startswith("board.json is 1 entry behind the ledger")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entries: [*entries, entries[1]], "is published a second time"),
        (
            lambda entries: [*entries, entries[1].model_copy(update={"kind": "retract", "reason": ""})],
            "takes a row off the board without a reason",
        ),
        (
            lambda entries: [*entries, *[entries[1].model_copy(update={"kind": "retract", "reason": "why"})] * 2],
            "off the board, where it is not",
        ),
        (
            lambda entries: [*entries[:-1], entries[-1].model_copy(update={"supersedes": "0" * 64})],
            "is of the kind add, and supersedes 000000000000",
        ),
    ],
    ids=["added twice", "no reason", "retracted twice", "superseded by an add"],
)
def test_entries_that_contradict_each_other(folder, change, said):
    entries = list(ledger.read_ledger(folder))
    chained(folder, change(entries))
    findings = check_leaderboards(folder)
    number = len(read_chain(folder).entries)
    assert any(one.startswith(f"ledger.jsonl:{number}: row ") and said in one for one in findings)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "rows/notes.txt",
        "samples/deep/er.jsonl",
        "samples/.hidden",
        "install.sh",
        "other/board.json",
        "schema/more.schema.json",
    ],
)
def test_a_file_too_many(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert check_leaderboards(folder) == [f"{name} is named by no entry of the ledger"]


@pytest.mark.parametrize(
    "name", [f"samples/{'0' * 64}.jsonl", f"rows/{'0' * 64}.json", f"rows/.{'0' * 64}.12345678.json"]
)
def test_what_an_interrupted_add_may_have_left(folder, name):
    (folder / name).write_text("")
    assert check_leaderboards(folder) == [f"{name} is named by no entry of the ledger ({INTERRUPTED})"]


def test_a_schema_of_somebody_else(folder):
    path = folder / "schema" / "row.schema.json"
    path.write_text("{}\n", encoding="utf-8")
    said = f"schema/row.schema.json is not the schema of these files (harness board build {folder})"
    assert check_leaderboards(folder) == [said]
    CliRunner().invoke(app, ["build", str(folder), "--site", str(folder.parent / "site")])
    assert check_leaderboards(folder) == []


def test_a_page_in_the_folder(folder):
    """Only where the board was sent is there one, and it may say anything."""
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text("sft is best", encoding="utf-8")
    (finding,) = check_leaderboards(folder)
    assert finding.startswith("site is a page, which no check is made of")
    assert check_leaderboards(folder, copy=True) == []
    assert CliRunner().invoke(app, ["check", str(folder)]).exit_code == 1
    assert CliRunner().invoke(app, ["check", str(folder), "--copy"]).exit_code == 0


def test_a_link_in_place_of_a_file(folder, tmp_path):
    path = samples_of(folder, "dmt", SKILL)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert check_leaderboards(folder) == [f"samples/{path.name} is a link, and not a file"]


@pytest.mark.parametrize("name", ["ledger.jsonl", "board.json"])
def test_a_link_to_what_never_ends(folder, name):
    """Nothing is read of it, or a proposed row could take all memory of who checks it."""
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert check_leaderboards(folder) == [f"{name} is a link, and not a file"]


def test_what_would_hide_rows_from_git(folder):
    (folder / ".gitignore").write_text(".lock\n.board.lock\nrows\n", encoding="utf-8")
    (folder / ".gitattributes").write_text("* -diff\n", encoding="utf-8")
    assert check_leaderboards(folder) == [
        ".gitattributes is named by no entry of the ledger",
        ".gitignore keeps rows out of commits, and should only .lock, .board.lock",
    ]
    assert check_leaderboards(folder, copy=True) == []


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n", "rows/x"]
)
def test_a_name_that_is_no_digest(folder, name):
    """In an entry, and in a row whose digests all agree: never a path to follow."""
    path = folder / "ledger.jsonl"
    head, lines = read_chain(folder), lines_of(folder)
    entry = json.loads(lines[-1]) | {"row": name, "previous": head.head}
    path.write_bytes(b"".join([*lines, canonical(entry).encode() + b"\n"]))
    (finding,) = check_leaderboards(folder)
    assert finding.startswith(f"{path}:6 is not an entry: row ")
    path.write_bytes(b"".join(lines))
    row = ids(folder)["dmt"]

    def change(content):
        content["result"]["tasks"][SKILL]["seeds"][0]["samples_sha256"] = name

    edit(row_path(folder, row), change)
    findings = check_leaderboards(folder)
    assert any(f"{row}.json is not a row: result.tasks.{SKILL}.seeds.0.samples_sha256" in one for one in findings)


# --- the board -------------------------------------------------------------------------------------------------------


def test_a_changed_board(folder):
    edit(folder / "board.json", lambda it: it["boards"][0]["lines"][0].update(rank=9))
    assert check_leaderboards(folder) == ["board.json: boards[0].lines[0].rank is 9, and should be 1"]


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_board_that_lies_a_little(folder, end):
    """Half a point is much for a score or a p-value; the ends of what is resampled depend on who draws the items."""
    path = folder / "board.json"

    def of(it):
        return it["boards"][0]["lines"][1]

    edit(path, lambda it: of(it)["composite"].update(score=of(it)["composite"]["score"] + 1e-6))
    (finding,) = check_leaderboards(folder)
    assert finding.startswith("board.json: boards[0].lines[1].composite.score is ")
    ledger.write_derived(folder)
    edit(path, lambda it: of(it)["composite"]["comparison"].update(adjusted_p=0.5))
    assert any(
        "lines[1].composite.comparison.adjusted_p is 0.5, and should be" in one for one in check_leaderboards(folder)
    )
    ledger.write_derived(folder)
    edit(path, lambda it: of(it)["composite"]["interval"].update({end: of(it)["composite"]["interval"][end] + 1e-6}))
    assert f"lines[1].composite.interval.{end} is " in check_leaderboards(folder)[0]


@pytest.mark.parametrize(("moved", "found"), [(0.0049, False), (0.0051, True)])
def test_a_resampled_interval(arms, info, tmp_path, moved, found):
    folder = tmp_path / "leaderboards"
    for arm in arms:
        samples = arm_samples(arm)
        ledger.add(build_row(arm, info, samples), samples, folder)

    def change(it):
        interval = it["boards"][0]["lines"][0]["composite"]["interval"]
        assert "bootstrap" in interval["method"]
        interval["low"] -= moved

    edit(folder / "board.json", change)
    assert bool(check_leaderboards(folder)) is found


def test_a_row_taken_off_the_board_alone(folder):
    edit(folder / "board.json", lambda it: it["boards"][0]["lines"].pop())
    assert "board.json: boards[0].lines has 4 entries, and should have 5" in check_leaderboards(folder)


def test_no_board(folder):
    (folder / "board.json").unlink()
    (finding,) = check_leaderboards(folder)
    assert "board.json cannot be read" in finding
    assert "harness board build" in finding
