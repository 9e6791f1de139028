from __future__ import annotations

import shutil

import pytest

from harness.train.checkpoints import SEAL, newest, seal


def write(home, step):
    folder = home / "writing"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes([step]) * 1000)
    (folder / "inner" / "state").write_text(f"step {step}")
    return seal(folder, home, step=step, seconds=step / 2)


@pytest.fixture
def two(tmp_path):
    """Checkpoints at steps 3 and 7, as if the older one had not yet been dropped."""
    write(tmp_path, 3)
    shutil.copytree(tmp_path / "step-000000003", tmp_path / "kept")
    write(tmp_path, 7)
    (tmp_path / "kept").rename(tmp_path / "step-000000003")
    return tmp_path


def test_the_newest_wins_and_older_ones_go(two):
    found = newest(two)
    assert (found.step, found.seconds, found.folder.name) == (7, 3.5, "step-000000007")
    write(two, 9)
    assert [folder.name for folder in two.iterdir()] == ["step-000000009"]


@pytest.mark.parametrize("name", ["weights", "inner/state", SEAL])
@pytest.mark.parametrize("harm", ["truncate", "remove", "flip"])
def test_a_torn_checkpoint_is_passed_over(two, name, harm):
    path = two / "step-000000007" / name
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if harm == "truncate" else bytes([content[0] ^ 1]) + content[1:])
    assert newest(two).step == 3


def test_there_may_be_none(tmp_path):
    assert newest(tmp_path / "absent") is None
    (tmp_path / "step-000000001").mkdir()
    assert newest(tmp_path) is None
