from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.train.checkpoints import RESTARTED, SEAL, Spread, discard, newest, seal

TWO = Spread(2, 2, deepspeed="zero2", digest="abc")


def write(home, step, **more):
    folder = home / "writing"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes([step]) * 1000)
    (folder / "inner" / "state").write_text(f"step {step}")
    return seal(folder, home, step=step, seconds=step / 2, **more)


@pytest.fixture
def two(tmp_path):
    """Checkpoints at steps 3 and 7."""
    write(tmp_path, 3)
    write(tmp_path, 7)
    return tmp_path


def test_the_newest_wins_and_the_one_before_it_stays(two):
    found = newest(two)
    assert (found.step, found.seconds, found.folder.name) == (7, 3.5, "step-000000007")
    write(two, 9)
    assert sorted(folder.name for folder in two.iterdir()) == ["step-000000007", "step-000000009"]


@pytest.mark.parametrize("name", ["weights", "inner/state", SEAL])
@pytest.mark.parametrize("harm", ["truncate", "remove", "flip"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(two, name, harm):
    path = two / "step-000000007" / name
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if harm == "truncate" else bytes([content[0] ^ 1]) + content[1:])
    assert newest(two).step == 3
    write(two, 6)
    assert newest(two).step == 6


def test_what_was_never_sealed_does_not_count(two):
    (two / "writing").mkdir()
    (two / "writing" / "weights").write_bytes(b"half")
    (two / "step-000000008").mkdir()
    assert newest(two).step == 7


def test_there_may_be_none(tmp_path):
    assert newest(tmp_path / "absent") is None
    (tmp_path / "step-000000001").mkdir()
    assert newest(tmp_path) is None


def test_the_seal_says_how_the_state_is_spread_and_laid_out(tmp_path):
    write(tmp_path, 3, spread=TWO, layout={"layout": "padded", "micro_tokens": 100})
    found = newest(tmp_path)
    assert (found.spread, found.layout) == (TWO, {"layout": "padded", "micro_tokens": 100})
    assert json.loads((found.folder / SEAL).read_text())["spread"]["digest"] == "abc"


@pytest.mark.parametrize(
    "other",
    [
        Spread(1, 2, deepspeed="zero2"),
        Spread(2, 3, deepspeed="zero3"),
        Spread(2, 2, offloaded=True, deepspeed="mine.json"),
        Spread(2),
        Spread(),
    ],
)
def test_processes_or_shards_that_changed_are_refused(tmp_path, other):
    found = write(tmp_path, 3, spread=TWO)
    with pytest.raises(UserError) as caught:
        found.check(other)
    text = str(caught.value)
    assert f"step 3 was written by 2 processes with DeepSpeed zero2, and this run has {other}" in text
    assert "train.processes=2 --set train.deepspeed=zero2" in text
    assert "--restart-stage" in text


def test_another_file_of_the_same_stage_goes_on(tmp_path):
    write(tmp_path, 3, spread=TWO).check(Spread(2, 2, deepspeed="mine.json", digest="def"))


def test_a_file_that_divides_the_state_otherwise_is_refused(tmp_path):
    found = write(tmp_path, 3, spread=replace(TWO, division="here"))
    found.check(replace(TWO, division="here", digest="another"))
    with pytest.raises(UserError, match=r"step 3 divides .* otherwise .*round_robin_gradients.*--restart-stage"):
        found.check(replace(TWO, division="there"))


def test_a_stage_begun_anew_leaves_a_mark_only_where_it_discards_something(two, tmp_path):
    discard(two)
    assert newest(two) is None
    assert (two / RESTARTED).exists()
    (tmp_path / "other").mkdir()
    discard(tmp_path / "other")
    assert not (tmp_path / "other" / RESTARTED).exists()
