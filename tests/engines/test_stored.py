import json
import resource
import signal

import pytest

from harness.engines.hf import HfEngine
from harness.engines.protocol import GenerateRequest, LoglikelihoodRequest, Sampling
from harness.engines.session import Asking, Seat, converse
from harness.engines.stored import Responses
from harness.errors import Failure
from harness.jobs import EngineSettings

SETTINGS = EngineSettings(name="hf")


@pytest.fixture(scope="module")
def engine(chat_models):
    return HfEngine(SETTINGS, chat_models["a"] / "model", batch_size=3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "responses.jsonl"


@pytest.fixture
def requests(prompts):
    return [GenerateRequest(str(n), ids, Sampling(12)) for n, ids in enumerate(prompts)]


def opened(path, settings=SETTINGS, model="model-a"):
    return Responses(path, settings=settings, model_key=model)


def ask(engine, path, requests, *, answered=lambda _: None, **identity):
    """The answers, and how many were asked and found stored."""
    asking = Asking(requests)
    with opened(path, **identity) as responses:
        seat = Seat(asking, responses)
        for _ in converse(engine, [seat], answered=answered):
            pass
        return asking.answers, seat.asked, seat.stored


class Died(BaseException):
    """As if the process had been killed."""


def dies_after(lots):
    left = iter(range(lots - 1))

    def answered(_):
        if next(left, None) is None:
            raise Died

    return answered


def test_what_is_stored_is_not_asked_again(engine, path, requests, pairs):
    first, asked, known = ask(engine, path, requests)
    assert (asked, known) == (16, 0)
    content = path.read_bytes()
    assert ask(engine, path, requests) == (first, 0, 16)
    assert path.read_bytes() == content
    scored, asked, _ = ask(engine, path, pairs)
    assert asked == 16
    assert ask(engine, path, pairs) == (scored, 0, 16)
    assert path.read_bytes().startswith(content)


def test_answers_are_on_disk_before_they_are_handed_on(engine, path, requests):
    told = []

    def answered(seat):
        told.append(seat.asked)
        assert len(path.read_text().splitlines()) == seat.asked == len(seat.party.answers)

    ask(engine, path, requests, answered=answered)
    assert told == [3, 6, 9, 12, 15, 16]


def test_only_what_is_missing_is_asked_in_the_lots_it_was_in(engine, path, requests):
    whole, *_ = ask(engine, path, requests)
    full = path.read_bytes()
    lines = full.splitlines(keepends=True)
    for kept, tail in ((6, b""), (7, b""), (8, lines[8][:-9]), (8, lines[8][:-1])):
        path.write_bytes(b"".join(lines[:kept]) + tail)
        found, asked, known = ask(engine, path, requests)
        assert found == whole
        assert (asked, known) == (10, 6)
        assert path.read_bytes() == full


def test_a_crash_between_lots_loses_nothing(engine, path, requests):
    whole, *_ = ask(engine, path, requests)
    full = path.read_bytes()
    path.unlink()
    with pytest.raises(Died):
        ask(engine, path, requests, answered=dies_after(2))
    assert ask(engine, path, requests) == (whole, 10, 6)
    assert path.read_bytes() == full


def test_equal_requests_are_asked_once(engine, path, requests):
    twins = [GenerateRequest(f"twin-{r.id}", r.prompt_ids, r.sampling) for r in requests]
    found, asked, _ = ask(engine, path, requests + twins)
    assert asked == 16
    assert all(found[f"twin-{r.id}"] == found[r.id] for r in requests)


def test_all_that_decides_an_answer_is_in_its_key(engine, path, prompts):
    base = GenerateRequest("x", prompts[0], Sampling(4, temperature=1.0, seed=1))
    variants = [
        base,
        GenerateRequest("x", prompts[1], base.sampling),
        GenerateRequest("x", prompts[0], Sampling(5, temperature=1.0, seed=1)),
        GenerateRequest("x", prompts[0], Sampling(4, temperature=0.5, seed=1)),
        GenerateRequest("x", prompts[0], Sampling(4, temperature=1.0, seed=2)),
        GenerateRequest("x", prompts[0], Sampling(4, temperature=1.0, seed=1, top_p=0.5)),
        GenerateRequest("x", prompts[0], Sampling(4, temperature=1.0, seed=1, stop=("z",))),
        GenerateRequest("x", prompts[0], Sampling(4, temperature=1.0, seed=1, end_ids=(9,))),
    ]
    for request in variants:
        assert ask(engine, path, [request])[1:] == (1, 0)
    assert ask(engine, path, [base], model="model-b")[1:] == (1, 0)
    assert ask(engine, path, [base], settings=EngineSettings(name="hf", max_length=512))[1:] == (1, 0)
    assert ask(engine, path, [base])[1:] == (0, 1)
    moved = [LoglikelihoodRequest("y", prompts[0][:5], prompts[0][5:8])]
    split = [LoglikelihoodRequest("y", prompts[0][:6], prompts[0][6:8])]
    assert ask(engine, path, moved)[1:] == (1, 0)
    assert ask(engine, path, split)[1:] == (1, 0)


def test_a_damaged_file_is_named(engine, path, requests):
    ask(engine, path, requests)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"\x00\x00\n", *lines[5:]]))
    with pytest.raises(Failure, match=r"responses.jsonl, line 5, is damaged"):
        opened(path)
    path.write_bytes(b"".join([*lines, *lines[:3]]))
    with pytest.raises(Failure, match=r"line 17, answers a request twice"):
        opened(path)


def test_a_full_disk_is_named_and_what_is_stored_is_kept(engine, path, requests):
    whole, *_ = ask(engine, path, requests)
    size = path.stat().st_size
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        with pytest.raises(Failure, match=r"cannot store responses in .*responses.jsonl: File too large"):
            ask(engine, path, requests)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    found, asked, known = ask(engine, path, requests)
    assert found == whole
    assert known > 0
    assert asked + known == 16


def test_records_are_json_lines_of_key_value_and_lot(engine, path, requests):
    ask(engine, path, requests)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(record) == {"key", "value", "left"} for record in records)
    assert [record["left"] for record in records] == [2, 1, 0] * 5 + [0]
