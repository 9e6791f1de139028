"""Downloads, by the real client, from a hub of our own on this machine or from none at all."""

import pytest
from huggingface_hub import constants

from harness.api import Hub
from harness.data.hub import download, named, snapshot, training_files
from harness.data.sources import from_text, read
from harness.errors import UserError

ROWS = b'{"prompt": "q", "completion": "a"}\n'


def test_files_are_downloaded_where_the_mirror_has_none(hub):
    hub.push("org/public", {"data/train.jsonl": ROWS})
    assert len(read("mine", from_text("org/public:data/train.jsonl"), data_root=None)) == 1


def test_a_plain_id_means_the_repositorys_training_file(hub):
    hub.push("org/public", {"data/train.jsonl": ROWS, "README.md": b""})
    (path,) = download(Hub("org/public"))
    assert path.read_bytes() == ROWS


def test_a_pattern_means_all_files_that_it_fits(hub):
    hub.push("org/public", {"b/test-1.jsonl": ROWS, "b/test-0.jsonl": ROWS, "b/train-0.jsonl": ROWS})
    assert [path.name for path in download(Hub("org/public", ("b/test-*.jsonl",)))] == ["test-0.jsonl", "test-1.jsonl"]
    assert named(("z.json", "a/*"), ["a/1", "b", "a/0"]) == ("z.json", "a/0", "a/1")


@pytest.mark.parametrize(
    ("asked", "problem", "remedy"),
    [
        (Hub("org/gated", ("train.jsonl",)), "the hub dataset org/gated is gated", "set HF_TOKEN"),
        (Hub("org/absent", ("train.jsonl",)), "the hub has no dataset org/absent", "HARNESS_DATA_ROOT/org/absent/"),
        (Hub("org/absent"), "the hub has no dataset org/absent", "HARNESS_DATA_ROOT/org/absent/"),
        (Hub("org/public", ("no.jsonl",)), "the hub dataset org/public has no file no.jsonl", "check the file names"),
        (Hub("org/public", ("no*",)), "the hub dataset org/public has no file no*", "check the file names"),
        (Hub("org/public", ("x.jsonl",), "v9"), "the hub dataset org/public has no revision v9", "check the revision"),
        (
            Hub("org/barred"),
            "the hub refuses the dataset org/barred: Client error '451",
            "HARNESS_DATA_ROOT/org/barred",
        ),
        (Hub("org/bar..red"), "'org/bar..red' is no id of a hub dataset", "openai/gsm8k"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_a_remedy(hub, asked, problem, remedy):
    hub.push("org/public", {"train.jsonl": ROWS})
    hub.push("org/gated", {"train.jsonl": ROWS}, gated=True)
    hub.push("org/barred", {"train.jsonl": ROWS}, refusal=(451, ""))
    with pytest.raises(UserError) as caught:
        download(asked)
    assert caught.value.problem.startswith(problem)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("hub")
def test_a_hub_that_is_not_there_is_one_line_with_a_remedy(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the hub cannot be reached for the dataset org/name") as caught:
        snapshot(Hub("org/name"), "main")
    assert "HARNESS_DATA_ROOT/org/name/" in caught.value.remedy


def test_offline_the_remedy_is_the_mirror(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for asked in (Hub("org/name", ("train.jsonl",)), Hub("org/name")):
        with pytest.raises(UserError, match="org/name is not in the mirror or the cache") as caught:
            download(asked)
        assert "HARNESS_DATA_ROOT/org/name/" in caught.value.remedy


def test_training_files_are_the_only_one_or_those_called_train_in_one_folder():
    assert training_files("o/n", ["README.md", "all.json"]) == ("all.json",)
    shards = ["main/train-0.parquet", "main/train-1.parquet", "main/test-0.parquet"]
    assert training_files("o/n", shards) == ("main/train-0.parquet", "main/train-1.parquet")
    for unclear in (["a/train.json", "b/train.json"], ["x.json", "y.json"], ["README.md"]):
        with pytest.raises(UserError, match="name one: o/n:FILE"):
            training_files("o/n", unclear)
