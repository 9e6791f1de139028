"""Outages: noticed once, probed by one at a time, and over with the first reply."""

import asyncio

import pytest

from harness.endpoints.availability import IN_A_ROW, Availability, Pace
from harness.errors import Failure

QUICK = Pace(first=0.001, longest=0.002, first_probe=0.001, longest_probe=0.002)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def server(notices):
    return Availability("the judge at http://localhost/v1", QUICK, None, notices.append)


def break_down(server):
    for _ in range(IN_A_ROW):
        server.failed("503: down")


def test_waits_double_up_to_the_longest_and_are_jittered():
    pace = Pace(first=0.5, longest=20.0)
    waits = [[pace.between_calls(failures) for _ in range(200)] for failures in range(1, 10)]
    for failures, drawn in enumerate(waits):
        most = min(20.0, 0.5 * 2**failures)
        assert most / 2 <= min(drawn) < max(drawn) <= most
    assert pace.between_calls(10_000) <= 20.0
    assert pace.between_probes(10_000) <= 60.0


def test_failures_between_replies_are_no_outage(server, notices):
    for _ in range(3 * IN_A_ROW):
        server.failed("503: down")
        server.failed("503: down")
        server.answered()
    assert not server.paused
    assert notices == []


def test_an_outage_is_told_once_with_what_is_done_and_once_when_it_is_over(server, notices):
    server.progress = lambda: "412 of 800 done"
    break_down(server)
    break_down(server)
    assert server.paused
    server.answered()
    server.answered()
    assert not server.paused
    began, ended = notices
    assert "(503: down): paused, 412 of 800 done, goes on by itself; Ctrl-C keeps everything" in began
    assert ended.startswith("the judge at http://localhost/v1 answers again after ")


def test_calls_take_turns_in_an_outage_and_go_side_by_side_when_it_is_over(server):
    break_down(server)
    inside, most = 0, []

    async def call(number):
        nonlocal inside
        async with server.turn():
            inside += 1
            most.append(inside)
            await asyncio.sleep(0.002)
            inside -= 1
            if number == 3:
                server.answered()
            elif server.paused:
                server.failed("503: down")

    async def all_calls():
        await asyncio.gather(*(call(number) for number in range(12)))

    asyncio.run(all_calls())
    assert most[:4] == [1, 1, 1, 1]
    assert max(most) == 8


def test_patience_ends_an_outage_and_not_a_wait_between_replies(notices):
    server = Availability("the judge", QUICK, 0.05, notices.append)
    asyncio.run(server.rest(0.1))
    server.failed("503: down")
    with pytest.raises(Failure, match=r"the judge has not answered for 0.05 s"):
        asyncio.run(server.rest(3600))
    server.answered()
    asyncio.run(server.rest(0.1))


def test_a_long_wait_that_the_server_asks_for_is_told_once(notices):
    server = Availability("the judge", QUICK, 0.01, notices.append)
    server.failed("429: slow down")

    async def two():
        return await asyncio.gather(*(server.rest(0.001, asked=3600) for _ in range(2)), return_exceptions=True)

    assert [type(end) for end in asyncio.run(two())] == [Failure, Failure]
    assert notices == ["the judge asks to wait for 3600 s"]
