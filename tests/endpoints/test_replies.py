"""Replies as servers write them, and what is no reply."""

import json

import pytest

from harness.endpoints.replies import Malformed, parse, read_chat, read_completion


def chat(**changes):
    choice = {"index": 0, "message": {"role": "assistant", "content": "good"}, "finish_reason": "stop", **changes}
    return {"model": "m-0613", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


def message(**fields):
    return chat(message={"role": "assistant", **fields})


def test_a_chat_reply_is_read():
    listed = {"content": [{"token": "good", "logprob": -0.1, "top_logprobs": [{"token": "bad", "logprob": -2.5}]}]}
    reply = read_chat(chat(logprobs=listed))
    assert (reply.text, reply.finish, reply.model, reply.refused) == ("good", "stop", "m-0613", False)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 1)
    ((token, logprob, top),) = [(one.token, one.logprob, one.top) for one in reply.logprobs]
    assert (token, logprob, top) == ("good", -0.1, (("bad", -2.5),))


def test_a_reply_without_a_count_of_tokens_is_one():
    for usage in (None, {}, {"prompt_tokens": -1}, {"prompt_tokens": None}, "many"):
        assert read_chat({**chat(), "usage": usage}).usage is None


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        (message(content=None, refusal="I will not"), True),
        (message(content="", refusal="I will not"), True),
        (chat(message={"role": "assistant", "content": None}, finish_reason="content_filter"), True),
        (chat(message={"role": "assistant", "content": None}, finish_reason="length"), False),
        (message(content=None, reasoning_content="hm"), False),
        (message(content="", refusal=None), False),
    ],
)
def test_silence_with_a_reason_is_a_reply(reply, refused):
    read = read_chat(reply)
    assert read.text == ""
    assert read.refused is refused


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        "good",
        {},
        {"choices": None},
        {"choices": []},
        {"choices": ["good"]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        message(),
        message(content=None),
        message(content=7),
        message(content=["good"]),
        chat(finish_reason=3),
        chat(logprobs={"content": [{"token": "good"}]}),
        chat(logprobs={"content": ["good"]}),
        chat(logprobs={"content": [{"token": "good", "logprob": "low"}]}),
        {**chat(), "model": 3},
    ],
)
def test_what_lacks_an_answer_is_malformed(reply):
    with pytest.raises(Malformed):
        read_chat(reply)


@pytest.mark.parametrize("listed", [None, {}, {"content": None}, {"content": []}])
def test_missing_probabilities_are_malformed_only_where_they_were_asked_for(listed):
    assert read_chat(chat(logprobs=listed)).text == "good"
    with pytest.raises(Malformed):
        read_chat(chat(logprobs=listed), logprobs=True)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b"\xff\xfe", b"[" * 100_000, b"<html>"]
)
def test_what_is_no_json_is_malformed(body):
    with pytest.raises(Malformed):
        parse(body)


def test_the_key_is_starred_out_wherever_the_server_repeats_it():
    body = json.dumps({"sk-secret": [{"text": "you sent sk-secret, sk-secret"}]}).encode()
    assert parse(body, "sk-secret") == {"***": [{"text": "you sent ***, ***"}]}


def test_half_characters_become_ones_that_can_be_written():
    text = parse(rb'{"text": "\ud83d and \ud83d\ude00"}')["text"]
    assert text == "\ufffd and \U0001f600"
    text.encode()


def completion(**changes):
    choice = {"index": 0, "text": " world", "finish_reason": "length", **changes}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def test_a_completion_is_read_with_the_probabilities_of_its_prompt():
    listed = {"tokens": ["hello", " world"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {" world": -0.5}]}
    reply = read_completion(completion(logprobs=listed), logprobs=True)
    assert (reply.text, reply.tokens, reply.logprobs) == (" world", ("hello", " world"), (None, -0.5))
    assert reply.top == (None, {" world": -0.5})


@pytest.mark.parametrize(
    "listed", [None, {"tokens": ["a"], "token_logprobs": None}, {"tokens": ["a"], "token_logprobs": [None, -0.5]}]
)
def test_a_completion_without_the_probabilities_asked_for_is_malformed(listed):
    assert read_completion(completion(logprobs=None)).logprobs is None
    with pytest.raises(Malformed):
        read_completion(completion(logprobs=listed), logprobs=True)


def test_a_completion_without_text_is_malformed():
    with pytest.raises(Malformed):
        read_completion(completion(text=None))
