"""The store of bought replies: whole records or none, and room for those in flight."""

import json
import os

import pytest

from harness.endpoints.replies import ChatReply, TokenLogprob, Usage
from harness.errors import Failure
from harness.judge.judgments import Judgments, Record, read


def record(key, text="good", **changes):
    reply = ChatReply(
        text=text,
        model="m",
        logprobs=(TokenLogprob(token="good", logprob=-0.1, top=(("bad", -2.5),)),),
        usage=Usage(prompt_tokens=3, completion_tokens=1),
    )
    values = {"revision": "1", "repeat": 0, "attempt": 0, "outcome": "answered", "seconds": 0.1, "time": "now"}
    return Record(key=key, reply=reply, **{**values, **changes})


@pytest.fixture
def judgments(tmp_path):
    opened = []

    def judgments(store=tmp_path):
        opened.append(Judgments(store, "judge", {"model": "m"}))
        return opened[-1]

    yield judgments
    for one in opened:
        one.close()


def put(kept, *records):
    for future in [kept.put(one) for one in records]:
        future.result(10)


def test_what_is_put_is_on_disk_and_found_again(judgments, tmp_path):
    kept = judgments()
    put(kept, record("a", "so\u2028so, \u00e9t\u00e9\r\n"), record("b"))
    on_disk = [
        json.loads(line)["key"] for path in tmp_path.rglob("*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]
    ]
    assert on_disk == ["a", "b"]
    again = judgments()
    assert {one.key: one for one in again} == {"a": kept.get("a"), "b": kept.get("b")}
    assert again.get("a") == record("a", "so\u2028so, \u00e9t\u00e9\r\n")
    assert json.loads((tmp_path / "judgments" / "judge" / "judge.json").read_text()) == {"model": "m"}


def test_nothing_is_written_where_nothing_is_put(judgments, tmp_path):
    judgments().close()
    assert [*tmp_path.iterdir()] == []


def test_processes_write_files_of_their_own_and_the_first_of_equals_holds(judgments, tmp_path):
    one, other = judgments(), judgments()
    put(one, record("a", "first"), record("b"))
    put(other, record("a", "second"), record("c"))
    assert len([*tmp_path.rglob("*.jsonl")]) == 2
    first = next(iter(read(tmp_path / "judgments" / "judge"))).reply.text
    third = judgments()
    assert {one.key for one in third} == {"a", "b", "c"}
    assert third.get("a").reply.text == first


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_line_torn_by_a_crash_is_left_out(torn, judgments, tmp_path):
    kept = judgments()
    put(kept, record("a"), record("b"))
    kept.close()
    (path,) = tmp_path.rglob("*.jsonl")
    os.truncate(path, path.stat().st_size - torn)
    again = judgments()
    assert {one.key for one in again} == {"a"}
    put(again, record("b"))
    assert {one.key for one in judgments()} == {"a", "b"}


def test_a_line_damaged_otherwise_is_named(judgments, tmp_path):
    kept = judgments()
    put(kept, record("a"), record("b"))
    kept.close()
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_text(path.read_text().replace("good", 'go"od', 1))
    with pytest.raises(Failure, match=r"\.jsonl, line 1, is damaged"):
        judgments()


def test_a_full_disk_is_one_line_and_loses_nothing(judgments, mounted):
    store = mounted("size=64k")
    kept = judgments(store)
    with pytest.raises(Failure, match="is full"):
        kept.check_room()  # so that nothing is bought that may find no room
    futures = {str(number): kept.put(record(str(number), "x" * 3000)) for number in range(100)}
    with pytest.raises(Failure, match="is full") as caught:
        [future.result(10) for future in futures.values()]
    stored = [name for name, future in futures.items() if future.exception(10) is None]
    assert "\n" not in str(caught.value)
    assert stored
    assert sorted(one.key for one in judgments(store)) == sorted(stored)
    (path,) = store.rglob("*.jsonl")
    assert path.read_bytes().endswith(b"\n")


def test_a_disk_that_gets_room_again_is_written_to_again(judgments, mounted):
    store = mounted("size=64k")
    filler = store / "filler"
    filler.write_bytes(b"x" * 2**15)
    kept = judgments(store)
    with pytest.raises(Failure, match="is full"):
        put(kept, record("a", "x" * 2**15))
    filler.unlink()
    put(kept, record("a", "x" * 2**14))
    assert [one.key for one in judgments(store)] == ["a"]


def test_a_judge_stops_before_the_disk_is_full(scripted, ask, open_judge, mounted):
    """What was stored is there; what would have found no room was not bought."""
    store = mounted("size=5m")
    with scripted.ScriptedJudge(lambda _: "[[5]]" + "x" * 40_000) as server:
        with open_judge(server, store, concurrency=4) as judge, pytest.raises(Failure, match="is full") as caught:
            ask(judge, range(400))
        assert "\n" not in str(caught.value)
        bought = sum(server.completed.values())
        assert bought == len([*read(next((store / "judgments").iterdir()))])
        assert 0 < bought < 400
