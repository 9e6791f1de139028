import json

import pytest

from harness.api import DataSource, Hub
from harness.canonical import file_digest
from harness.data.mirror import LOCK, Lock, Pin, mirrored, read_lock, write_lock
from harness.data.sources import declare_files, read
from harness.errors import UserError

ROW = '{"prompt": "q", "completion": "a"}\n'


def put(root, path, content=ROW):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def pin(root, path, **facts):
    hub, _, file = path.partition("/")
    name, _, file = file.partition("/")
    found = Pin(hub=f"{hub}/{name}", file=file, asked="main", revision="c" * 40, **facts)
    write_lock(root, read_lock(root).having([found]))


def test_the_hubs_own_names_go_before_the_mirrors(tmp_path):
    asked = Hub("org/name", ("main/test.parquet",), mirror=("test.jsonl",))
    assert mirrored(asked, tmp_path) is None
    put(tmp_path, "org/name/test.jsonl")
    assert mirrored(asked, tmp_path) == (tmp_path / "org/name/test.jsonl",)
    put(tmp_path, "org/name/main/test.parquet")
    assert mirrored(asked, tmp_path) == (tmp_path / "org/name/main/test.parquet",)


def test_part_of_what_a_pattern_fits_is_not_taken_for_the_whole(tmp_path):
    asked = Hub("org/name", ("test-*.jsonl",))
    put(tmp_path, "org/name/test-0.jsonl")
    pin(tmp_path, "org/name/test-1.jsonl")
    assert mirrored(asked, tmp_path) is None
    put(tmp_path, "org/name/test-1.jsonl")
    assert [path.name for path in mirrored(asked, tmp_path)] == ["test-0.jsonl", "test-1.jsonl"]


def test_a_file_that_is_not_what_was_pulled_is_refused_when_it_is_planned_with_and_when_it_is_read(tmp_path, refused):
    file = put(tmp_path, "org/name/train.jsonl")
    pin(tmp_path, "org/name/train.jsonl", sha256=file_digest(file))
    hub = Hub("org/name", ("train.jsonl",))
    planned = {"data_root": tmp_path, "cache": tmp_path / "cache"}
    assert declare_files("mine", hub, None, **planned).n == 1
    assert len(read("mine", DataSource(hub), data_root=tmp_path)) == 1
    file.write_text(ROW + ROW)
    for said in (
        refused(declare_files, "mine", hub, None, **planned),
        refused(read, "mine", DataSource(hub), data_root=tmp_path),
    ):
        assert f"{file} is not the file that was pulled" in said
        assert "harness data pull --replace" in said


def test_files_of_which_the_lock_knows_nothing_are_read_as_they_are(tmp_path):
    put(tmp_path, "org/name/train.jsonl")
    pin(tmp_path, "org/other/train.jsonl", sha256="0" * 64)
    assert len(read("mine", DataSource(Hub("org/name", ("train.jsonl",))), data_root=tmp_path)) == 1


def test_a_lock_is_sorted_and_holds_each_path_once(tmp_path):
    for path in ("org/b/x.json", "org/a/x.json", "org/b/x.json"):
        pin(tmp_path, path, licence="mit")
    assert [one["hub"] for one in json.loads((tmp_path / LOCK).read_text())["files"]] == ["org/a", "org/b"]
    assert read_lock(tmp_path).pin("org/a/x.json").licence == "mit"
    assert read_lock(tmp_path / "elsewhere") == Lock()


def test_a_damaged_lock_is_one_line(tmp_path, refused):
    (tmp_path / LOCK).write_text('{"version": 1, "files": [{}]}')
    assert "mirror.json cannot be read: Field required" in refused(read_lock, tmp_path)


def test_a_mirror_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        mirrored(Hub("org/name"), tmp_path / "nowhere")
