"""Who is to blame when all ranks fail within milliseconds."""

import signal
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.launch.verdict import Rank, verdict
from harness.machine import Relief

LOGS = Path("/job/ranks")
LABEL = "im: train sft (seed 0)"
OF_OTHERS = "RuntimeError: Connection closed by peer [127.0.0.1]:9"


def rank(number, at=None, because=None, problem=None, **more):
    failed = None
    if problem or because:
        problem = problem or OF_OTHERS
        failed = {"problem": problem, "remedy": "", "exit_code": 1, "expected": False, "because": because}
    return Rank(number, f"node{number}", 100 + number, **{"failed": failed, "troubled_at": at, **more})


def said(*ranks):
    return str(verdict(LABEL, ranks, LOGS))


def test_of_ranks_that_are_well_nothing_is_said():
    assert verdict(LABEL, [rank(0), rank(1, code=0)], LOGS) is None


def test_a_killed_rank_comes_before_those_that_raise_because_it_is_gone():
    killed = rank(1, at=2.0, code=-signal.SIGKILL)
    assert said(rank(0, at=1.0, because="gone", code=1), killed) == (
        "im: train sft (seed 0): rank 1 on node1 was killed by SIGKILL (memory may have run out: lower "
        "runtime.micro_tokens, or shard with train.deepspeed; its log is /job/ranks/1.log; the same command then "
        "goes on)"
    )


def test_a_rank_killed_for_memory_is_told_with_what_would_take_less():
    killed, relief = rank(1, at=1.0, code=-signal.SIGKILL), Relief("it needed more than 4 GiB", "fits: fewer tokens")
    assert str(verdict(LABEL, [rank(0), killed], LOGS, {"node1": relief})) == (
        f"{LABEL}: the kernel killed rank 1 on node1 for want of memory: it needed more than 4 GiB (fits: fewer tokens)"
    )
    unknown = str(verdict(LABEL, [killed], LOGS, {"node1": None}))
    assert unknown.endswith("want of memory (lower --set runtime.micro_tokens; results stay the same)")
    elsewhere = str(verdict(LABEL, [killed], LOGS, {"node0": relief}))
    assert "rank 1 on node1 was killed by SIGKILL (memory may have run out" in elsewhere
    crashed = rank(1, at=1.0, code=-signal.SIGSEGV)
    assert "SIGSEGV" in str(verdict(LABEL, [crashed], LOGS, {"node1": relief}))


def test_a_guard_that_went_without_a_word_was_killed():
    assert said(rank(0), rank(1, at=1.0, lost=True)).startswith(f"{LABEL}: rank 1 on node1 was killed by SIGKILL")


def test_a_machine_that_does_not_answer_is_named():
    lost = rank(1, at=1.0, lost=True, silent=True)
    assert said(rank(0), lost) == f"{LABEL}: rank 1 on node1 does not answer any more (its machine or network is gone)"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_rank_that_crashes_is_named_with_its_signal(number):
    crashed = said(rank(0, at=3.0, because="gone"), rank(1, at=1.0, code=-number))
    assert crashed == (
        f"{LABEL}: rank 1 on node1 was killed by {number.name} (its log is /job/ranks/1.log; the same command then "
        "goes on)"
    )


def test_a_rank_that_left_without_a_word_comes_before_those_that_miss_it():
    left = said(rank(0, at=1.0, because="gone", code=1), rank(1, at=2.0, code=3))
    assert left.startswith(f"{LABEL}: rank 1 on node1 ended with exit code 3 (its log is /job/ranks/1.log; ")


def test_an_error_of_ones_own_comes_before_waiting_in_vain():
    own = rank(1, at=2.0, problem="ValueError: odd", code=1)
    assert said(rank(0, at=1.0, because="gone", code=1), own) == (
        f"{LABEL}: rank 1 on node1: ValueError: odd (the log of rank 1 on node1 is /job/ranks/1.log)"
    )


def test_those_that_a_launcher_stops_are_not_to_blame():
    own = rank(1, at=2.0, problem="ValueError: odd", code=1)
    assert "rank 1" in said(rank(0, at=1.0, code=-signal.SIGTERM), own)
    alone = said(rank(0, at=1.0, code=-signal.SIGTERM))
    assert alone.startswith(f"{LABEL}: rank 0 on node0 was killed by SIGTERM")


def test_the_rank_that_the_others_wait_for_hangs():
    late = rank(0, at=1.0, because="late", problem="RuntimeError: Timed out waiting 5000ms for recv")
    assert said(late, rank(1)) == (
        f"{LABEL}: rank 1 on node1 hangs: rank 0 waited for it in vain (RuntimeError: Timed out waiting 5000ms for "
        "recv) (if it needs so long, raise runtime.collective_timeout; its log is /job/ranks/1.log)"
    )


def test_where_all_waited_in_vain_the_first_one_speaks():
    late = [rank(n, at=2.0 - n, because="late", problem=f"RuntimeError: timed out {n}") for n in range(2)]
    assert said(*late).startswith(f"{LABEL}: rank 1 on node1: RuntimeError: timed out 1")


def test_what_the_user_did_wrong_stays_the_users():
    refused = {"problem": "no such data", "remedy": "give another", "exit_code": 2, "expected": True, "because": None}
    error = verdict(LABEL, [rank(0, at=1.0, failed=refused), rank(1)], LOGS)
    assert isinstance(error, UserError)
    assert str(error) == "no such data (give another)"
