"""Several parties at one engine: rounds, order, and what a crash leaves."""

import pytest

from harness.engines.hf import HfEngine
from harness.engines.protocol import GenerateRequest, Sampling
from harness.engines.session import Asking, Seat, converse
from harness.engines.stored import Responses
from harness.jobs import EngineSettings

SETTINGS = EngineSettings(name="hf")


@pytest.fixture(scope="module")
def engine(chat_models):
    return HfEngine(SETTINGS, chat_models["a"] / "model", batch_size=3)


class Echo:
    """Asks each prompt, and then what was answered, `rounds` times in all."""

    def __init__(self, requests, rounds):
        self.requests, self.rounds, self.heard = requests, rounds, {}

    def begin(self):
        return self.requests

    def take(self, request, answer):
        self.heard[request] = answer
        name, _, number = request.partition("/")
        following = int(number or 0) + 1
        if following == self.rounds:
            return ()
        return [GenerateRequest(f"{name}/{following}", answer.token_ids, Sampling(6), round=following)]


class Died(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def run(engine, tmp_path):
    """Run parties by name; `lots` is after how many the process dies."""

    def run(parties, lots=None, *, mixes=False):
        left = iter(range(lots or 10**6))
        files = {name: Responses(tmp_path / name, settings=SETTINGS, model_key="a") for name in parties}
        seats = {name: Seat(party, files[name]) for name, party in parties.items()}
        engine.mixes = mixes
        finished = []

        def answered(_):
            if next(left, None) is None:
                raise Died

        try:
            names = {id(seat): name for name, seat in seats.items()}
            finished.extend(names[id(seat)] for seat in converse(engine, list(seats.values()), answered=answered))
        finally:
            engine.mixes = False
            for file in files.values():
                file.close()
        return seats, finished

    return run


@pytest.fixture
def requests(prompts):
    return [GenerateRequest(str(n), ids, Sampling(12)) for n, ids in enumerate(prompts)]


def test_each_round_follows_from_the_one_before(run, requests):
    echo = Echo(requests, 3)
    seats, _ = run({"echo": echo})
    assert set(echo.heard) == {f"{n}{end}" for n in range(16) for end in ("", "/1", "/2")}
    assert 16 < seats["echo"].asked <= 48  # equal questions are asked once
    assert seats["echo"].done


@pytest.mark.parametrize("lots", [1, 4, 7, 9])
def test_after_a_crash_in_any_round_all_is_answered_as_it_would_have_been(run, requests, tmp_path, lots):
    whole = Echo(requests, 2)
    uninterrupted, _ = run({"whole": whole})
    with pytest.raises(Died):
        run({"killed": Echo(requests, 2)}, lots)
    resumed = Echo(requests, 2)
    seats, _ = run({"killed": resumed})
    assert resumed.heard == whole.heard
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert seats["killed"].stored > 0
    assert 0 < seats["killed"].asked < uninterrupted["whole"].asked


def test_parties_are_told_their_own_answers_and_are_done_when_theirs_are(run, requests):
    parties = {"short": Asking(requests[:2]), "long": Echo(requests[2:], 3), "none": Asking([])}
    seats, finished = run(parties)
    assert finished == ["short", "long", "none"]
    assert set(parties["short"].answers) == {"0", "1"}
    assert seats["short"].asked == 2
    assert set(parties["long"].heard) == {f"{n}{end}" for n in range(2, 16) for end in ("", "/1", "/2")}
    assert all(seat.seconds > 0 for name, seat in seats.items() if name != "none")


def test_mixed_parties_get_the_same_answers(run, requests):
    apart = {"a": Echo(requests[:8], 2), "b": Asking(requests[8:])}
    run(apart)
    mixed = {"c": Echo(requests[:8], 2), "d": Asking(requests[8:])}
    _, finished = run(mixed, mixes=True)
    assert sorted(finished) == ["c", "d"]
    assert mixed["c"].heard == apart["a"].heard
    assert mixed["d"].answers == apart["b"].answers
