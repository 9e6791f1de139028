"""The endpoint engine at a scripted server: what is sent, what is made of replies, and what no fault may change."""

import itertools
import json
from collections import deque

import pytest

from harness.endpoints.availability import Pace
from harness.endpoints.model import FILE, served_model, take_served
from harness.engines.endpoint import EndpointEngine
from harness.engines.pool import Engines
from harness.engines.protocol import GenerateRequest, Loglikelihood, LoglikelihoodRequest, Sampling, Unanswered
from harness.engines.session import Asking, Seat, converse
from harness.engines.stored import Responses
from harness.errors import UserError
from harness.jobs import EngineSettings, ModelSettings

QUICK = Pace(first=0.01, longest=0.05, first_probe=0.01, longest_probe=0.1)
SETTINGS = EngineSettings(name="endpoint")


@pytest.fixture
def folder(tmp_path):
    take_served(ModelSettings(id="org/model", server="here"), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def engine(folder):
    """An engine at a server: `engine(server, concurrency=4)`; closed in the end."""
    opened = []

    def engine(server, *, settings=SETTINGS, notices=None, **manner):
        runtime = {"base_url": server.base_url, "endpoint": {"timeout": 2.0, **manner}}
        notice = pytest.fail if notices is None else notices.append
        opened.append(EndpointEngine(settings, folder, runtime, notice, QUICK))
        return opened[-1]

    yield engine
    for one in opened:
        one.close()


def chat(number, sampling=None, **more):
    messages = [{"role": "user", "content": f"question {number}"}]
    return GenerateRequest(f"c{number}", (), sampling or Sampling(8), asked={"prompt": messages}, **more)


def text(number, sampling=None):
    return GenerateRequest(f"t{number}", (), sampling or Sampling(8), asked={"prompt": f"text {number}"})


def pair(name, context, continuation):
    return LoglikelihoodRequest(name, (), (), asked={"prompt": context, "continuation": continuation})


def said(engine, requests):
    return dict(one for lot in engine.answer(deque(requests)) for one in lot)


def reply(body):
    """What depends on all that was asked."""
    asked = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return f"answer to {asked}"


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_conversations_and_texts_go_where_they_belong(engine, scripted):
    with scripted.ScriptedJudge(reply, texts=True) as server:
        answers = said(engine(server), [chat(1), text(2)])
    assert {name: answer.text for name, answer in answers.items()} == {
        "c1": "answer to question 1",
        "t2": "answer to text 2",
    }
    bodies = sorted((body for _, body, _ in server.asked), key=lambda body: "prompt" in body)
    assert bodies == [
        {
            "model": "org/model",
            "messages": [{"role": "user", "content": "question 1"}],
            "temperature": 0.0,
            "max_tokens": 8,
        },
        {"model": "org/model", "prompt": "text 2", "temperature": 0.0, "max_tokens": 8},
    ]


def test_sampling_is_told_with_its_seed(engine, scripted):
    sampling = Sampling(5, temperature=0.7, top_p=0.95, stop=("a", "b", "c", "d", "e"), seed=11)
    with scripted.ScriptedJudge(reply) as server:
        said(engine(server, max_tokens_field="max_completion_tokens"), [chat(1, sampling)])
    ((_, body, _),) = server.asked
    del body["messages"], body["model"]
    assert body == {
        "temperature": 0.7,
        "max_completion_tokens": 5,
        "top_p": 0.95,
        "seed": 11,
        "stop": ["a", "b", "c", "d"],
    }


def test_further_fields_are_the_users(engine, scripted):
    settings = EngineSettings(name="endpoint", extra={"reasoning_effort": "low", "temperature": None})
    with scripted.ScriptedJudge(reply) as server:
        said(engine(server, settings=settings), [chat(1)])
    ((_, body, _),) = server.asked
    assert body["reasoning_effort"] == "low"
    assert "temperature" not in body


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "stop", "expected"),
    [
        (("yes", "stop"), (), ("yes", "stop")),
        (("yes and", "length"), (), ("yes and", "length")),
        (("yes\nclass", "length"), ("\nclass",), ("yes", "stop")),
        (("a e b", "stop"), ("w", "x", "y", "z", " b", "e"), ("a ", "stop")),
        (("", "length"), (), ("", "length")),
    ],
)
def test_answers_end_at_the_first_stop_text(engine, scripted, came, stop, expected):
    choice = {"message": {"content": came[0]}, "finish_reason": came[1]}
    with scripted.ScriptedJudge(lambda _: choice) as server:
        answer = said(engine(server), [chat(1, Sampling(8, stop=stop))])["c1"]
    assert (answer.text, answer.finish, answer.prompt_cut) == (*expected, 0)
    assert (answer.prompt_tokens, answer.tokens) == (2, 10)


def test_a_refusal_is_the_models_answer_and_a_request_that_is_too_long_is_none(engine, scripted):
    filtered = {"message": {"content": None}, "finish_reason": "content_filter"}
    with scripted.ScriptedJudge(lambda body: filtered if "1" in body["messages"][0]["content"] else "yes") as server:
        answers = said(engine(server), [chat(1), chat(2)])
    assert (answers["c1"].text, answers["c2"].text) == ("", "yes")
    with scripted.ScriptedJudge(reply, faults={"rejected": 0.5}, seed=3) as server:
        answers = said(engine(server, concurrency=16), [chat(n) for n in range(30)])
    unanswered = [answer for answer in answers.values() if isinstance(answer, Unanswered)]
    assert 0 < len(unanswered) < 30
    assert "400: the prompt is too long" in unanswered[0].reason


# --- likelihoods -----------------------------------------------------------------------------------------------------


def echoing(body, tokens_of=lambda prompt: [prompt[at : at + 3] for at in range(0, len(prompt), 3)]):
    """Tokens of three characters; the probability of each falls with its place, and every second is the likeliest."""
    tokens = [*tokens_of(body["prompt"]), "!"]
    logprobs = [None, *(-float(place) for place in range(1, len(tokens)))]
    top = [None, *({token: -p, "*": -p + (p % 2)} for p, token in enumerate(tokens[1:], start=1))]
    return {
        "text": body["prompt"] + "!",
        "finish_reason": "length",
        "logprobs": {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top},
    }


def test_a_continuation_is_scored_from_its_first_token_on(engine, scripted, monkeypatch):
    monkeypatch.setattr(scripted._Handler, "completion", counted)
    with scripted.ScriptedJudge(echoing, texts=True) as server:
        answers = said(
            engine(server),
            [pair("aligned", "abcdef", "ghi"), pair("astride", "abcd", "ef"), pair("space", "abc ", "de")],
        )
    assert answers["aligned"] == Loglikelihood(-2.0, greedy=True, prompt_cut=0, prompt_tokens=3)
    assert answers["astride"] == Loglikelihood(-1.0, greedy=False, prompt_cut=0, prompt_tokens=2)
    assert answers["space"] == Loglikelihood(-1.0, greedy=False, prompt_cut=0, prompt_tokens=2)


def counted(self, body):
    """A completion whose usage counts the tokens of the prompt, and one generated."""
    choice = self.judge.answer(body)
    tokens = len(choice["logprobs"]["tokens"]) - 1 if choice.get("logprobs") else 4
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    return {"object": "text_completion", "model": body["model"], "choices": [{"index": 0, **choice}], "usage": usage}


def test_where_tokens_do_not_spell_the_text_the_context_is_counted(engine, scripted, monkeypatch):
    """As of a server that shows half a character as a mark of its own; the choices of a context share the count."""

    def marks(body):
        return echoing(body, lambda prompt: ["?"] * -(-len(prompt) // 3))

    monkeypatch.setattr(scripted._Handler, "completion", counted)
    with scripted.ScriptedJudge(marks, texts=True) as server:
        pairs = [pair("one", "abcdef", "ghi"), pair("two", "abcdef", "ghijkl")]
        answers = said(engine(server), pairs)
    assert (answers["one"].logprob, answers["two"].logprob) == (-2.0, -2.0 - 3.0)
    assert [body["prompt"] for _, body, _ in server.asked].count("abcdef") == 1


@pytest.mark.parametrize("texts", [True, False])
def test_a_server_that_scores_no_texts_says_so_once(engine, scripted, texts):
    with scripted.ScriptedJudge(lambda _: "and so on", texts=texts) as server:
        opened = engine(server)
        reasons = {opened.why_no_likelihoods() for _ in range(3)}
        assert said(opened, [chat(1)] if not texts else [text(1)])  # it answers all the same
    (reason,) = reasons
    assert ("tells no log-probabilities" if texts else "does not score given texts") in reason
    assert len(server.asked) == 2


def test_a_server_that_scores_texts_gives_no_reason(engine, scripted, monkeypatch):
    monkeypatch.setattr(scripted._Handler, "completion", counted)
    with scripted.ScriptedJudge(echoing, texts=True) as server:
        assert engine(server).why_no_likelihoods() is None


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_faults_change_no_answer(engine, scripted):
    requests = [*(chat(n) for n in range(60)), *(text(n) for n in range(60))]
    with scripted.ScriptedJudge(reply, texts=True) as server:
        clean = said(engine(server, concurrency=16), requests)
    with scripted.ScriptedJudge(reply, faults=scripted.WORST, texts=True) as server:
        notices = []
        faulty = said(engine(server, concurrency=16, timeout=0.3, notices=notices), requests)
        share = server.faulty / server.calls
        assert server.calls <= 1.05 / (1 - share) * len(requests)
    assert faulty == clean


def test_an_outage_is_waited_for(engine, scripted):
    import threading

    notices = []
    with scripted.ScriptedJudge(reply) as server:
        server.down = True
        threading.Timer(0.5, lambda: setattr(server, "down", False)).start()
        answers = said(engine(server, notices=notices), [chat(n) for n in range(20)])
    assert {answer.text for answer in answers.values()} == {f"answer to question {n}" for n in range(20)}
    assert "paused" in notices[0]
    assert "answers again" in notices[-1]


def test_what_nobody_can_be_asked_ends_the_session_and_what_came_before_is_kept(
    engine, scripted, tmp_path, monkeypatch
):
    monkeypatch.setenv("THE_KEY", "sk-right")
    asked, count = [chat(n) for n in range(12)], itertools.count(1)

    def answer(body):
        if next(count) == 4:
            server.key = "sk-other"
        return reply(body)

    def session():
        party = Asking(asked)
        with Responses(tmp_path / "stored", settings=SETTINGS, model_key="m") as stored:
            list(converse(engine(server, concurrency=2, api_key_env="THE_KEY"), [Seat(party, stored)]))
        return party.answers

    with scripted.ScriptedJudge(answer, key="sk-right") as server:
        with pytest.raises(UserError, match="see to the key in THE_KEY") as refused:
            session()
        assert "sk-right" not in str(refused.value)
        answered, server.key = server.fates["answered"], "sk-right"
        assert len(session()) == 12
        assert server.fates["answered"] == 12  # nothing twice
    assert answered >= 4


def test_unanswered_requests_are_not_stored(tmp_path):
    with Responses(tmp_path / "stored", settings=SETTINGS, model_key="m") as stored:
        stored.store({stored.key(chat(1)): Unanswered("too long")})
        assert stored.get(stored.key(chat(1))) is None
    assert (tmp_path / "stored").read_bytes() == b""


def test_a_servers_counts_survive_the_file(engine, scripted, tmp_path):
    with scripted.ScriptedJudge(reply) as server:
        answer = said(engine(server), [chat(1)])["c1"]
    with Responses(tmp_path / "stored", settings=SETTINGS, model_key="m") as stored:
        stored.store({stored.key(chat(1)): answer})
        assert stored.tokens_generated == 10
    with Responses(tmp_path / "stored", settings=SETTINGS, model_key="m") as stored:
        assert stored.get(stored.key(chat(1))) == answer
        assert stored.get(stored.key(chat(2))) is None


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_a_servers_model(folder):
    assert json.loads((folder / FILE).read_text()) == {"name": "org/model", "server": "here"}
    assert served_model(folder).name == "org/model"


def test_another_folder_is_refused(tmp_path, refused):
    said = refused(Engines().open, SETTINGS, tmp_path, {"base_url": "http://localhost:1/v1"})
    assert "endpoint.json is missing" in said


def test_the_key_is_wanted_before_anything_is_asked(engine, scripted, monkeypatch):
    monkeypatch.delenv("THE_KEY", raising=False)
    with scripted.ScriptedJudge(reply) as server:
        with pytest.raises(UserError, match="THE_KEY is not set"):
            engine(server, api_key_env="THE_KEY")
        assert server.asked == []
