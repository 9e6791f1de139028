"""What comes of replies: verdicts, attempts, refusals, and never two calls for one answer."""

import itertools
import json
import threading

import pytest

from harness.api import JudgePrompt, Message, Verdict
from harness.errors import UserError
from harness.judge.judgments import read
from harness.judge.prompts import without_thinking

pytestmark = pytest.mark.timeout(60)


def outcomes(judgments):
    return {judgment.verdict.outcome for judgment in judgments.values()}


def test_what_is_stored_needs_neither_server_nor_key(scripted, ask, open_judge, monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-secret")
    with scripted.ScriptedJudge(key="sk-secret") as server, open_judge(server, api_key_env="THE_KEY") as judge:
        first = ask(judge, range(5))
    monkeypatch.delenv("THE_KEY")
    with open_judge(server, api_key_env="THE_KEY") as judge:
        assert ask(judge, range(5)) == first
        assert (judge.calls, judge.bought.replies, judge.from_store) == (0, 0, 5)


def test_two_that_ask_the_same_at_once_share_one_reply(scripted, open_judge):
    with scripted.ScriptedJudge(delay=0.1) as server, open_judge(server) as judge:
        prompt = JudgePrompt((Message("user", "how good is it?"),), parse=str)
        futures = [judge.submit(prompt) for _ in range(5)]
        assert len({future.result().verdict.text for future in futures}) == 1
        assert server.calls == 1


def test_repeats_and_revisions_are_requests_of_their_own(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server, open_judge(server) as judge:
        for changes in ({}, {"repeat": 1}, {"revision": "2"}, {"max_tokens": 65}, {"temperature": 0.5}):
            ask(judge, range(2), **changes)
        assert server.calls == 10


def test_the_same_judge_at_another_address_has_the_same_replies(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server, open_judge(server) as judge:
        first = ask(judge, range(3))
    with scripted.ScriptedJudge() as other:
        with open_judge(other) as judge:
            assert ask(judge, range(3)) == first
        with open_judge(other, name=None) as judge:
            ask(judge, range(3))
        assert other.calls == 3


def test_what_cannot_be_parsed_is_asked_again(scripted, ask, open_judge):
    said = itertools.count()
    with scripted.ScriptedJudge(lambda _: f"no idea {n}" if (n := next(said)) < 2 else "[[4]]") as server:
        with open_judge(server) as judge:
            (judgment,) = ask(judge, [1]).values()
        with open_judge(server) as judge:  # the attempts that led there are remembered
            assert ask(judge, [1]) == {"1": judgment}
        assert server.calls == 3
    assert judgment.verdict == Verdict(4, "ok", "[[4]]")
    assert [reply.text for reply in judgment.replies] == ["no idea 0", "no idea 1", "[[4]]"]


@pytest.mark.parametrize(("reask", "calls"), [(0, 1), (1, 2), (4, 5)])
def test_what_never_can_be_parsed_is_missing(reask, calls, scripted, ask, open_judge):
    said = itertools.count()
    with (
        scripted.ScriptedJudge(lambda _: f"[[{11 + next(said)}]]") as server,
        open_judge(server, reask=reask) as judge,
    ):
        verdict = ask(judge, [1])["1"].verdict
        assert server.calls == calls
    assert (verdict.outcome, verdict.value) == ("judge_unparsed", None)


def test_what_is_nested_too_deeply_to_be_read_is_missing(scripted, ask, open_judge):
    with scripted.ScriptedJudge(lambda _: "[" * 100_000) as server:
        for _ in range(2):  # what is stored does no harm either
            with open_judge(server, reask=0) as judge:
                verdict = ask(judge, [1], parse=lambda reply: json.loads(reply.text))["1"].verdict
            assert (verdict.outcome, verdict.value) == ("judge_unparsed", None)
        assert server.calls == 1


def test_empty_replies_are_asked_for_again_as_often_as_others(scripted, ask, open_judge):
    with scripted.ScriptedJudge(lambda _: "") as server, open_judge(server, reask=2) as judge:
        assert ask(judge, [1])["1"].verdict.outcome == "judge_unparsed"
        assert server.calls == 3


def test_a_reply_that_comes_back_the_same_ends_the_asking(scripted, ask, open_judge):
    with scripted.ScriptedJudge(lambda _: "no idea") as server, open_judge(server, reask=9) as judge:
        verdict = ask(judge, [1])["1"].verdict
        assert server.calls == 2
    assert verdict.outcome == "judge_unparsed"


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": None, "refusal": "I do not rate such things"}},
        {"message": {"content": None}, "finish_reason": "content_filter"},
    ],
)
def test_a_refusal_is_missing_and_paid_once(choice, scripted, ask, open_judge):
    with scripted.ScriptedJudge(lambda _: choice) as server:
        for _ in range(2):
            with open_judge(server) as judge:
                verdict = ask(judge, [1])["1"].verdict
            assert (verdict.outcome, verdict.value) == ("judge_refused", None)
        assert server.calls == 1


def test_thinking_is_not_parsed_and_is_kept(scripted, ask, open_judge):
    text = "<think>[[1]]? No, [[2]].</think> Good. [[9]]"
    with scripted.ScriptedJudge(lambda _: text) as server, open_judge(server, reasoning=True) as judge:
        judgment = ask(judge, [1])["1"]
    assert judgment.verdict == Verdict(9, "ok", "Good. [[9]]")
    assert judgment.replies[0].text == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[[3]]", "[[3]]"),
        ("<think>a</think>\n\n[[3]]", "[[3]]"),
        ("<think>a</think>b<THINK>c</THINK>d", "bd"),
        ("opened in the prompt: [[1]]</think>[[3]]", "[[3]]"),
        ("<think>never ended [[1]]", ""),
        ("before <thinking>a</thinking>[[3]]<think>cut", "before [[3]]"),
        ("<think>it may write </think> in its thoughts [[1]]</think>[[3]]", "[[3]]"),
    ],
)
def test_thinking_ends_where_its_last_block_ends(text, left):
    assert without_thinking(text) == left


def test_settings_of_the_judge_hold_over_the_protocols(scripted, ask, open_judge):
    settings = {"temperature": 1.0, "max_tokens": 9000, "max_tokens_field": "max_completion_tokens"}
    with (
        scripted.ScriptedJudge() as server,
        open_judge(server, **settings, extra={"reasoning_effort": "low"}) as judge,
    ):
        ask(judge, [1])
        ((_, body, _),) = server.asked
    assert {name: body[name] for name in body if name != "messages"} == {
        "model": "judge-1",
        "temperature": 1.0,
        "max_completion_tokens": 9000,
        "reasoning_effort": "low",
    }


def test_probabilities_reach_the_parser(scripted, open_judge):
    top = [{"token": "m", "logprob": -0.2}, {"token": "M", "logprob": -1.7}]
    choice = {
        "message": {"content": "m"},
        "logprobs": {"content": [{"token": "m", "logprob": -0.2, "top_logprobs": top}]},
    }
    prompt = JudgePrompt(
        (Message("user", "which is better?"),), lambda reply: dict(reply.logprobs[0])["M"], max_tokens=1, top_logprobs=2
    )
    for _ in range(2):
        with scripted.ScriptedJudge(lambda _: choice) as server, open_judge(server) as judge:
            assert judge.ask(prompt).verdict == Verdict(-1.7, "ok", "m")
    assert server.calls == 0


def test_a_request_that_is_rejected_is_missing_and_not_stored(scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={"rejected": 1.0}) as server:
        with open_judge(server) as judge:
            judgments = ask(judge, range(3))
        assert outcomes(judgments) == {"judge_error"}
        assert "too long" in judgments["0"].verdict.text
        server.faults = {}
        with open_judge(server) as judge:
            assert outcomes(ask(judge, range(3))) == {"ok"}


def test_settings_that_make_every_request_fail_end_it_early(scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={"rejected": 1.0}) as server:
        with open_judge(server, concurrency=4) as judge, pytest.raises(UserError, match="rejects every request"):
            ask(judge, range(100))
        assert server.calls < 20


@pytest.mark.parametrize(("status", "words"), [(404, "no model judge-1"), (402, "pay"), (307, "leads elsewhere")])
def test_what_the_user_must_mend_is_said(status, words, scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={str(status): 1.0}) as server:
        with open_judge(server) as judge, pytest.raises(UserError, match=words) as caught:
            ask(judge, range(20))
        assert "sk-" not in str(caught.value)
        assert len(server.asked) <= 16


def test_calls_in_flight_at_an_error_are_brought_to_their_end(scripted, open_judge, tmp_path):
    """They are paid for: whatever ended the judging, they are stored."""
    release = threading.Event()

    def answer(_):
        release.wait(10)
        return "[[5]]"

    with scripted.ScriptedJudge(answer) as server:

        def leave():
            with open_judge(server, concurrency=4, timeout=10) as judge:
                for number in range(10):
                    judge.submit(JudgePrompt((Message("user", str(number)),), parse=str))
                while len(server.asked) < 4:
                    pass
                threading.Timer(0.2, release.set).start()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        assert len(server.asked) == 4
    (folder,) = (tmp_path / "store" / "judgments").iterdir()
    assert len([*read(folder)]) == 4


def test_a_parser_that_raises_costs_its_own_request(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server, open_judge(server) as judge:
        broken = judge.submit(JudgePrompt((Message("user", "x"),), parse=lambda _: 1 // 0))
        with pytest.raises(ZeroDivisionError):
            broken.result()
        assert ask(judge, [1])["1"].verdict.outcome == "ok"


def test_what_was_only_submitted_at_an_error_is_not_bought(scripted, open_judge, question):
    with scripted.ScriptedJudge(delay=0.05) as server:

        def leave():
            with open_judge(server, concurrency=4) as judge:
                for number in range(200):
                    judge.submit(question(number))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        assert len(server.asked) <= 4


def test_a_user_who_stops_waits_for_nothing(scripted, ask, open_judge):
    with scripted.ScriptedJudge(faults={"hang": 1.0}) as server:

        def leave():
            with open_judge(server, timeout=600) as judge:
                judge.submit(JudgePrompt((Message("user", "x"),), parse=str))
                while not server.asked:
                    pass
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            leave()
        server.faults = {}
        with open_judge(server) as judge:
            assert outcomes(ask(judge, range(3))) == {"ok"}
