import subprocess
import sys
import time

import numpy as np
import pytest

from harness.data.flat import Writer, mapped, once, whole

RACE = """
import sys, time
from pathlib import Path
import numpy as np
from harness.data.flat import Writer, once

def write(folder):
    print("writes", flush=True)
    sys.stdin.readline()
    with Writer(folder, {"a": np.int32}) as writer:
        writer.append(a=np.arange(5))
        writer.seal({})

once(Path(sys.argv[1]), write, lambda: print("waits", flush=True))
print("done", flush=True)
"""


def three(folder, *, seal=True):
    with Writer(folder, {"a": np.int32, "b": np.uint8}) as writer:
        writer.append(a=np.arange(3))
        writer.append(a=np.arange(3, 5))
        if seal:
            writer.seal({"said": "é"})


def test_arrays_come_back_with_their_facts_and_cannot_be_written_to(tmp_path):
    once(tmp_path / "x", three)
    arrays, facts = mapped(tmp_path / "x")
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert (arrays["a"].dtype, arrays["b"].dtype, len(arrays["b"])) == (np.int32, np.uint8, 0)
    assert facts == {"said": "é"}
    assert not arrays["a"].flags.writeable


def test_what_is_whole_is_not_written_again(tmp_path):
    once(tmp_path / "x", three)
    once(tmp_path / "x", lambda _: pytest.fail("written again"))


def test_nothing_is_left_of_what_failed(tmp_path):
    def fails(folder):
        three(folder, seal=False)
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        once(tmp_path / "x", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "a").write_bytes(b"1234"),
        lambda folder: (folder / "b").unlink(),
        lambda folder: (folder / "seal.json").write_text('{"arrays"'),
        lambda folder: (folder / "seal.json").unlink(),
    ],
)
def test_what_is_torn_is_written_anew(tmp_path, spoil):
    once(tmp_path / "x", three)
    spoil(tmp_path / "x")
    assert not whole(tmp_path / "x")
    once(tmp_path / "x", three)
    assert mapped(tmp_path / "x")[0]["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def process(tmp_path):
    started = []

    def start():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path / "x")], **pipes))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


@pytest.mark.timeout(60)
def test_of_two_processes_one_writes_and_the_other_waits_for_it(process, tmp_path):
    first = process()
    assert first.stdout.readline() == "writes\n"
    second = process()
    assert second.stdout.readline() == "waits\n"
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "done\n"
    assert second.stdout.read().splitlines()[-1] == "done"
    assert mapped(tmp_path / "x")[0]["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.timeout(60)
def test_what_a_killed_writer_left_is_written_by_the_next(process, tmp_path):
    first = process()
    assert first.stdout.readline() == "writes\n"
    second = process()
    assert second.stdout.readline() == "waits\n"
    first.kill()
    while (line := second.stdout.readline()) == "waits\n":
        time.sleep(0.01)
    assert line == "writes\n"
    second.stdin.write("\n")
    second.stdin.flush()
    assert second.stdout.readline() == "done\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.lock"]
