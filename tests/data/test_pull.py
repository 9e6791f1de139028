"""Filling the mirror, by the real client, from a hub of our own on this machine."""

import hashlib
import io
import time

import filelock
import pyarrow as pa
import pytest
import yaml
from huggingface_hub import constants, file_download
from pyarrow import parquet

from harness.api import Hub
from harness.data.mirror import mirrored, read_lock
from harness.data.pull import pull
from harness.errors import Failure, UserError
from harness.testing.tiny import TINY_RECIPE

ROWS = b'{"prompt": "q", "completion": "a"}\n' * 100
MORE = b'{"prompt": "r", "completion": "b"}\n' * 100
TEST = Hub("org/name", ("main/test.jsonl",))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "mirror"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """A broken download is resumed without waiting first."""
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_what_is_asked_for_comes_and_is_pinned_at_its_commit(hub, root):
    commit = hub.push("org/name", {"main/test.jsonl": ROWS, "main/train.jsonl": MORE}, licence="cc-by-4.0")
    (done,) = pull([TEST], root)
    assert (done.came, done.by_hand, done.errors) == (1, (), ())
    (pin,) = done.pins
    assert pin.model_dump(exclude={"pulled"}) == {
        "hub": "org/name",
        "file": "main/test.jsonl",
        "asked": "main",
        "revision": commit,
        "licence": "cc-by-4.0",
        "size": len(ROWS),
        "sha256": sha256(ROWS),
    }
    assert read_lock(root).files == (pin,)
    assert mirrored(TEST, root) == (root / "org/name/main/test.jsonl",)
    assert (root / "org/name/main/test.jsonl").read_bytes() == ROWS
    assert not (root / "org/name/main/train.jsonl").exists()


def test_a_second_pull_verifies_and_asks_the_hub_nothing(hub, root):
    hub.push("org/name", {"main/test.jsonl": ROWS})
    list(pull([TEST], root))
    hub.asked.clear()
    (again,) = pull([TEST], root)
    assert (again.came, len(again.pins), again.errors, hub.asked) == (0, 1, (), [])


def test_files_of_a_branch_stay_at_its_first_commit_until_an_update(hub, root):
    first = hub.push("org/name", {"main/test.jsonl": ROWS, "x.json": b"[]"})
    list(pull([TEST], root))
    second = hub.push("org/name", {"main/test.jsonl": MORE, "x.json": b"{}"})
    (done,) = pull([Hub("org/name", ("x.json", "main/test.jsonl"))], root)
    assert {pin.revision for pin in done.pins} == {first}
    assert (root / "org/name/x.json").read_bytes() == b"[]"
    (done,) = pull([TEST], root, update=True)
    assert (done.came, {pin.revision for pin in done.pins}) == (2, {second})
    assert (root / "org/name/main/test.jsonl").read_bytes() == MORE


def test_an_update_moves_all_files_of_the_branch_and_removes_those_that_it_no_longer_has(hub, root):
    hub.push("org/name", {"test-0-of-1.jsonl": ROWS, "x.json": b"[]", "y.json": b"[]"})
    asked, other = Hub("org/name", ("test-*.jsonl",)), Hub("org/name", ("x.json", "y.json"))
    list(pull([asked, other], root))
    (root / "org/name/y.json").write_bytes(b"mine")
    newest = hub.push("org/name", {"test-0-of-2.jsonl": ROWS, "test-1-of-2.jsonl": MORE, "x.json": b"{}"})
    (done,) = pull([asked], root, update=True)
    assert {pin.revision for pin in done.pins} == {newest}
    assert [path.name for path in mirrored(asked, root)] == ["test-0-of-2.jsonl", "test-1-of-2.jsonl"]
    assert (root / "org/name/x.json").read_bytes() == b"{}"
    assert (root / "org/name/y.json").read_bytes() == b"mine"
    assert {pin.file for pin in read_lock(root).files} == {"test-0-of-2.jsonl", "test-1-of-2.jsonl", "x.json"}


def test_a_pattern_is_asked_for_at_the_hub_and_never_half_there(hub, root):
    hub.push("org/name", {f"test-{n}.jsonl": ROWS for n in range(3)})
    asked = Hub("org/name", ("test-*.jsonl",))
    (done,) = pull([asked], root)
    assert (done.came, len(done.pins)) == (3, 3)
    (root / "org/name/test-1.jsonl").unlink()
    assert mirrored(asked, root) is None
    (done,) = pull([asked], root)
    assert (done.came, len(done.pins)) == (1, 3)


def test_what_cannot_be_had_is_told_and_the_rest_still_comes(hub, root):
    hub.push("org/name", {"main/test.jsonl": ROWS})
    hub.push("org/gated", {"x.json": b"[]"}, gated=True)
    wanted = [Hub("org/gated", ("x.json",)), Hub("org/absent", ("x.json",)), Hub("org/name", ("y.json",)), TEST]
    gated, absent, missing, done = pull(wanted, root)
    assert "org/gated is gated" in str(gated.errors[0])
    assert "no dataset org/absent" in str(absent.errors[0])
    assert "org/name has no file y.json" in str(missing.errors[0])
    assert done.came == 1
    assert mirrored(wanted[0], root) is None


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, root):
    commit = hub.push("org/name", {"main/test.jsonl": ROWS})
    hub.cut[f"/datasets/org/name/resolve/{commit}/main/test.jsonl"] = 3
    (done,) = pull([TEST], root)
    assert done.errors == ()
    assert (root / "org/name/main/test.jsonl").read_bytes() == ROWS


def test_a_download_that_keeps_breaking_off_leaves_nothing_and_the_next_pull_ends_it(hub, root):
    commit = hub.push("org/name", {"main/test.jsonl": ROWS, "x.json": b"[]"})
    path = f"/datasets/org/name/resolve/{commit}/main/test.jsonl"
    hub.cut[path] = 10**6
    both = Hub("org/name", ("main/test.jsonl", "x.json"))
    (done,) = pull([both], root)
    assert [pin.file for pin in done.pins] == ["x.json"]
    assert "org/name" in str(done.errors[0])
    assert not (root / "org/name/main").exists()
    hub.cut.clear()
    hub.asked.clear()
    (done,) = pull([both], root)
    assert (done.came, len(done.pins), done.errors) == (1, 2, ())
    assert not any("x.json" in asked for asked in hub.asked)


def test_a_file_that_does_not_arrive_as_the_hub_told_is_refused(hub, root, monkeypatch):
    commit = hub.push("org/name", {"main/test.jsonl": ROWS})
    listed = hub.listed("org/name", hub.repositories["org/name"], commit)
    monkeypatch.setattr(hub, "listed", lambda *_: listed.replace(sha256(ROWS).encode(), sha256(MORE).encode()))
    (done,) = pull([TEST], root)
    assert "org/name/main/test.jsonl arrived damaged" in str(done.errors[0])
    assert not (root / "org/name/main").exists()


# --- what is there already -----------------------------------------------------------------------------------------


def put(root, path, content):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def test_files_that_somebody_put_there_are_left_alone(hub, root):
    put(root, "org/name/test.jsonl", MORE)
    asked = Hub("org/name", ("main/test.jsonl",), mirror=("test.jsonl",))
    (done,) = pull([asked], root)
    assert done.by_hand == (root / "org/name/test.jsonl",)
    assert hub.asked == []
    hub.push("org/name", {"main/test.jsonl": ROWS})
    (done,) = pull([asked], root, update=True)
    assert done.came == 1
    assert mirrored(asked, root) == (root / "org/name/main/test.jsonl",)


def test_an_equal_file_is_pinned_and_another_one_only_overwritten_when_told(hub, root):
    hub.push("org/name", {"main/test.jsonl": ROWS})
    put(root, "org/name/main/test.jsonl", ROWS)
    (done,) = pull([TEST], root, update=True)
    assert (done.came, len(done.pins)) == (0, 1)
    put(root, "org/name/main/test.jsonl", MORE)
    for update in (False, True):
        (done,) = pull([TEST], root, update=update)
        assert "is not the hub's" in str(done.errors[0])
        assert "--replace" in done.errors[0].remedy
        assert (root / "org/name/main/test.jsonl").read_bytes() == MORE
    (done,) = pull([TEST], root, replace=True)
    assert (done.came, done.errors) == (1, ())
    assert (root / "org/name/main/test.jsonl").read_bytes() == ROWS


def test_two_revisions_that_hold_the_same_file_are_one(hub, root):
    first = hub.push("org/name", {"main/test.jsonl": ROWS})
    hub.push("org/name", {"main/test.jsonl": ROWS, "x.json": b"[]"})
    pinned = Hub("org/name", ("main/test.jsonl",), revision=first)
    for _ in range(2):
        one, other = pull([TEST, pinned], root)
        assert (len(one.pins), len(other.pins), one.errors, other.errors) == (1, 1, (), ())


def test_a_dataset_in_many_parts_is_listed_once(hub, root):
    hub.push("org/name", {f"{n}/test.json": b"[]" for n in range(20)})
    parts = [Hub("org/name", (f"{n}/*.json",)) for n in range(20)]
    assert sum(one.came for one in pull(parts, root)) == 20
    assert sum(path.startswith("/api/") for path in hub.asked) == 1


def test_two_revisions_of_one_file_do_not_take_turns(hub, root):
    first = hub.push("org/name", {"main/test.jsonl": ROWS})
    hub.push("org/name", {"main/test.jsonl": MORE})
    pinned = Hub("org/name", ("main/test.jsonl",), revision=first)
    done, refused = pull([TEST, pinned], root, update=True)
    assert done.came == 1
    assert "is asked for at two revisions" in str(refused.errors[0])
    (refused,) = pull([pinned], root)
    assert "--update moves it" in str(refused.errors[0])
    (moved,) = pull([pinned], root, update=True)
    assert moved.pins[0].revision == first


# --- other machines ------------------------------------------------------------------------------------------------


def test_offline_it_comes_from_the_clients_cache(hub, root, monkeypatch):
    card = b"---\nlicense: apache-2.0\n---\n"
    commit = hub.push("org/name", {"main/test.jsonl": ROWS, "README.md": card})
    for file in ("main/test.jsonl", "README.md"):
        file_download.hf_hub_download("org/name", file, repo_type="dataset")
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done, absent = pull([TEST, Hub("org/absent", ("x.json",))], root)
    assert (done.came, done.pins[0].revision, done.pins[0].licence) == (1, commit, "apache-2.0")
    assert "is not in the mirror or the cache" in str(absent.errors[0])
    assert hub.asked == []


def test_two_pulls_do_not_fill_one_mirror_at_a_time(root):
    root.mkdir()
    with filelock.FileLock(root / ".mirror.lock"), pytest.raises(UserError, match="another pull fills"):
        list(pull([TEST], root))


def test_a_full_disk_is_one_line(hub, mounted):
    place = mounted("size=16k")
    hub.push("org/name", {"main/test.jsonl": ROWS * 10})
    with pytest.raises(Failure, match="is full"):
        list(pull([TEST], place))


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def harness_data_pull(hub, command, tmp_path, root):
    """Starts the command in a process of its own."""

    def start(*arguments):
        here = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "100"}
        return command("data", "pull", *arguments, "--to", root, cwd=tmp_path, env={**here, "HARNESS_DATA_ROOT": ""})

    return start


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out.splitlines(), err.splitlines()


RECIPE = """
name: mine
model: org/model
data:
  general: [org/chat, playground:playground_chat]
benchmarks: [gsm8k]
"""


@pytest.mark.timeout(120)
def test_the_command_fills_the_mirror_with_what_a_recipe_needs(hub, harness_data_pull, tmp_path, root):
    (tmp_path / "mine.yaml").write_text(RECIPE)
    hub.push("org/chat", {"train.jsonl": ROWS}, licence=None)
    commit = hub.push("openai/gsm8k", {"main/test-00000-of-00001.parquet": ROWS, "main/train-0.parquet": MORE})
    code, out, err = ended(harness_data_pull("mine.yaml"))
    assert (code, err) == (0, [])
    assert [line.split() for line in out] == [
        ["dataset", "files", "size", "licence", "revision", "state"],
        ["org/chat", "1", "3", "KiB", "-", read_lock(root).of("org/chat")[0].revision[:12], "1", "came"],
        ["openai/gsm8k", "1", "3", "KiB", "mit", commit[:12], "1", "came"],
        f"2 files came; {root}/mirror.json says what each must be".split(),
    ]
    code, out, _ = ended(harness_data_pull("mine.yaml", "--check"))
    assert (code, out) == (0, [f"compared 2 files with {root}/mirror.json"])


@pytest.mark.timeout(300)
def test_what_was_pulled_is_all_that_a_run_needs_offline(hub, harness_data_pull, command, tmp_path, root):
    file, rows = io.BytesIO(), [{"question": f"{n} + {n}?", "answer": f"#### {2 * n}"} for n in range(9)]
    parquet.write_table(pa.Table.from_pylist(rows), file)
    hub.push("org/chat", {"train.jsonl": ROWS})
    hub.push("openai/gsm8k", {"main/test-00000-of-00001.parquet": file.getvalue()})
    recipe = {**TINY_RECIPE, "data": {"general": "org/chat"}, "benchmarks": ["gsm8k"], "limit": 2, "options": {}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert ended(harness_data_pull("mine.yaml"))[0] == 0
    hub.asked.clear()
    here = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "nothing")}
    longer = ("--set", "model.init.config.max_position_embeddings=1024")
    process = command("run", "mine.yaml", "--out", "run", "--data-root", root, *longer, cwd=tmp_path, env=here)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert hub.asked == []
    assert (tmp_path / "run" / "leaderboard.json").is_file()


@pytest.mark.timeout(120)
def test_the_command_says_what_did_not_come_and_what_is_wrong(hub, harness_data_pull, root):
    hub.push("org/chat", {"train.jsonl": ROWS})
    code, out, err = ended(harness_data_pull("org/chat", "org/absent"))
    assert code == 1
    assert out[2].split()[-5:] == ["1", "not", "to", "be", "had"]
    assert err[0].startswith("the hub has no dataset org/absent")
    assert err[1] == f"harness: {root} does not hold all of it: 1 thing wanting (the lines above name them)"
    (root / "org/chat/train.jsonl").write_bytes(MORE)
    code, out, err = ended(harness_data_pull("--check"))
    assert code == 1
    assert err[0].startswith("org/chat/train.jsonl is not the file that was pulled")


@pytest.mark.timeout(120)
def test_a_pull_that_is_killed_goes_on_with_what_is_missing(hub, harness_data_pull, root):
    names = [f"part-{n}.jsonl" for n in range(60)]
    hub.push("org/name", {name: ROWS + name.encode() for name in names})
    killed = harness_data_pull("org/name:part-*.jsonl")
    while sum(pin.sha256 is not None for pin in read_lock(root).files) < 5:
        assert killed.poll() is None
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    there = {pin.file: pin.sha256 for pin in read_lock(root).files if pin.sha256}
    assert {name: sha256((root / "org/name" / name).read_bytes()) for name in there} == there
    assert len(there) == 60 or mirrored(Hub("org/name", ("part-*.jsonl",)), root) is None
    hub.asked.clear()
    code, out, _ = ended(harness_data_pull("org/name:part-*.jsonl"))
    assert (code, out[1].split()[1]) == (0, "60")
    assert not any(asked.endswith(name) for asked in hub.asked for name in there)


def test_names_that_need_nothing_or_are_none(harness_data_pull):
    assert ended(harness_data_pull("playground")) == (0, ["playground needs nothing of the hub"], [])
    code, _, err = ended(harness_data_pull("gsm8k-mine"))
    assert (code, err) == (2, ["harness: nothing is called 'gsm8k-mine' (did you mean 'gsm8k-mini'?)"])
    code, _, err = ended(harness_data_pull())
    assert (code, "nothing is named" in err[0]) == (2, True)
