"""A server whose calls fail, drawn afresh each time with a seed that nobody knows: the verdicts are a clean one's."""

import threading
import time

import pytest

from harness.errors import Failure

pytestmark = pytest.mark.timeout(120)


def verdicts(judgments):
    return {name: judgment.verdict for name, judgment in judgments.items()}


def outcomes(judgments):
    return {judgment.verdict.outcome for judgment in judgments.values()}


def test_verdicts_are_those_of_a_clean_judge(scripted, ask, open_judge, tmp_path):
    with scripted.ScriptedJudge() as clean, open_judge(clean, tmp_path / "clean") as judge:
        wanted = verdicts(ask(judge, range(300)))
    with scripted.ScriptedJudge(faults=scripted.WORST) as worst:
        with open_judge(worst, concurrency=64, timeout=5) as judge:
            got = verdicts(ask(judge, range(300)))
        calls, faulty = worst.calls, worst.faulty
        assert set(worst.fates) == {"answered", *scripted.WORST}
        assert max(worst.completed.values()) == 1
    assert got == wanted
    assert {verdict.outcome for verdict in got.values()} == {"ok"}
    assert calls == judge.calls
    assert calls / 300 <= 1.05 / (1 - faulty / calls)


@pytest.mark.parametrize("kind", ["429", "5xx", "hang", "reset", "malformed"])
def test_any_share_of_faults_comes_to_an_end(kind, scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={kind: 0.9}) as server, open_judge(server, timeout=0.5) as judge:
        assert outcomes(ask(judge, range(4))) == {"ok"}


def test_a_wait_that_is_asked_for_is_kept(scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={"429": 0.5}, retry_after=(0.4, 1.2)) as server, open_judge(server) as judge:
        ask(judge, range(16))
        calls = [(scripted.identity(body), at) for at, body, _ in server.asked]
        assert server.waits
        for name, told, seconds in server.waits:
            assert min(at for other, at in calls if other == name and at > told) >= told + seconds


def test_an_outage_pauses_and_goes_on_by_itself(scripted, ask, open_judge, notices):
    with scripted.ScriptedJudge(delay=0.01) as server, open_judge(server, concurrency=8) as judge:

        def fail_for_a_while():
            while sum(server.completed.values()) < 20:
                time.sleep(0.005)
            server.down = True
            while not notices:
                time.sleep(0.005)
            asked = len(server.asked)
            time.sleep(0.5)
            probes.append(len(server.asked) - asked)
            server.down = False

        probes = []
        outage = threading.Thread(target=fail_for_a_while)
        outage.start()
        judgments = ask(judge, range(80))
        outage.join()
        assert outcomes(judgments) == {"ok"}
        assert max(server.completed.values()) == 1
    began, ended = notices
    assert began.startswith(f"the judge at {server.base_url} has not answered since ")
    assert "503: down" in began
    assert " of 80 done, goes on by itself; Ctrl-C keeps everything" in began
    assert "answers again after" in ended
    assert 1 <= probes[0] <= 20  # eight at once would make hundreds


def test_a_server_that_is_not_there_yet_is_waited_for(scripted, ask, open_judge, notices):
    with scripted.ScriptedJudge() as gone:
        port = gone.port

    def serve_once_it_is_missed():
        while not notices:
            time.sleep(0.01)
        with scripted.ScriptedJudge(port=port):
            done.wait(30)

    done = threading.Event()
    serving = threading.Thread(target=serve_once_it_is_missed)
    serving.start()
    with open_judge(gone) as judge:
        try:
            assert outcomes(ask(judge, range(20))) == {"ok"}
        finally:
            done.set()
            serving.join()
    assert "(no connection: " in notices[0]


def test_patience_ends_and_everything_stored_is_kept(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server:
        with open_judge(server, patience=0.5) as judge:
            first = ask(judge, range(10))
            server.down = True
            with pytest.raises(Failure, match=r"has not answered for 0.5 s") as caught:
                ask(judge, range(20))
            assert "\n" not in str(caught.value)
        server.down = False
        with open_judge(server) as judge:
            again = ask(judge, range(20))
        assert {name: again[name] for name in first} == first
        assert max(server.completed.values()) == 1


def test_one_request_that_breaks_the_server_costs_no_other(scripted, ask, open_judge, monkeypatch):
    """Its failures count only while others are answered, so that an outage never makes a request hopeless."""
    monkeypatch.setattr("harness.endpoints.client._STRIKES", 4)

    def answer(body):
        if "answer 3" in body["messages"][1]["content"]:
            return {"message": {"content": None}}
        time.sleep(0.02)
        return "[[5]]"

    with scripted.ScriptedJudge(answer) as server, open_judge(server, concurrency=2) as judge:
        judged = verdicts(ask(judge, range(9, 0, -1)))
    assert judged.pop("3").outcome == "judge_error"
    assert {verdict.value for verdict in judged.values()} == {5}
