"""Files from where their authors keep them, by the real client, from a server of our own on this machine."""

import hashlib

import pytest
from huggingface_hub import constants

from harness.api import DataSource, Upstream
from harness.data.hub import download
from harness.data.mirror import mirrored, read_lock
from harness.data.pull import pull
from harness.data.sources import read
from harness.errors import Failure, UserError

ROWS = b'{"prompt": "q", "completion": "a"}\n'


@pytest.fixture
def place(hub, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    hub.elsewhere["/v1/data/some file.jsonl"] = ROWS
    return Upstream(
        "authors/set",
        files=("data/some file.jsonl",),
        revision="v1",
        mirror=("file.jsonl",),
        url=hub.url + "/{revision}/",
        sha256=(hashlib.sha256(ROWS).hexdigest(),),
        licence="apache-2.0",
    )


def test_a_file_is_fetched_once_and_read(hub, place):
    for _ in range(2):
        assert len(read("set", DataSource(place), data_root=None)) == 1
    assert hub.asked == ["/v1/data/some file.jsonl"]


def test_the_mirror_is_filled_with_it_and_pins_it(place, tmp_path):
    root = tmp_path / "mirror"
    (done,) = pull([place], root)
    (pin,) = done.pins
    assert (done.came, pin.revision, pin.licence, pin.sha256) == (1, "v1", "apache-2.0", place.sha256[0])
    assert mirrored(place, root) == (root / "authors/set/data/some file.jsonl",)
    assert read_lock(root).files == (pin,)


def test_what_the_mirror_has_under_its_own_name_is_used(place, tmp_path, hub):
    (tmp_path / "authors/set").mkdir(parents=True)
    (tmp_path / "authors/set/file.jsonl").write_bytes(ROWS + ROWS)
    assert len(read("set", DataSource(place), data_root=tmp_path)) == 2
    assert hub.asked == []


def test_another_file_than_was_declared_is_refused_and_not_kept(hub, place):
    hub.elsewhere["/v1/data/some file.jsonl"] = ROWS + ROWS
    with pytest.raises(Failure, match="is not the file that authors/set declares"):
        download(place)
    hub.elsewhere["/v1/data/some file.jsonl"] = ROWS
    assert download(place)[0].read_bytes() == ROWS


def test_what_cannot_be_fetched_is_one_line_with_a_remedy(hub, place, monkeypatch):
    hub.elsewhere.clear()
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        with pytest.raises(UserError, match=r"/v1/data/some%20file\.jsonl cannot be fetched: ") as caught:
            download(place)
        assert "HARNESS_DATA_ROOT/authors/set/" in caught.value.remedy
        assert "\n" not in str(caught.value)


def test_a_commit_vouches_for_its_files_and_a_tag_does_not(hub, monkeypatch, tmp_path, refused):
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    commit = "0123456789" * 4
    hub.elsewhere[f"/{commit}/x.jsonl"] = ROWS
    place = Upstream("authors/set", files=("x.jsonl",), revision=commit, url=hub.url + "/{revision}/")
    for _ in range(2):
        assert len(read("set", DataSource(place), data_root=None)) == 1
    assert hub.asked == [f"/{commit}/x.jsonl"]
    (done,) = pull([place], tmp_path / "mirror")
    assert [pin.sha256 for pin in done.pins] == [hashlib.sha256(ROWS).hexdigest()]
    said = refused(lambda: Upstream("authors/set", files=("x.jsonl",), revision="v1", url=place.url))
    assert said.startswith("nothing vouches for the files of authors/set at v1")
