"""A real server: what vLLM sends is what is read, and its errors are sorted as ours say."""

import asyncio

import pytest

from harness.endpoints.access import ServerAccess
from harness.endpoints.client import CHAT, COMPLETIONS, Client, Request
from harness.endpoints.faults import Rejected
from harness.endpoints.replies import read_chat, read_completion
from harness.errors import UserError

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

QUESTION = [{"role": "user", "content": "How many apples are 3 and 4 apples?"}]


@pytest.fixture
def ask(vllm_server):
    """Asks it once: `ask(CHAT, read_chat, max_tokens=5, ...)`."""

    def ask(path, read, **body):
        async def once():
            access = ServerAccess(base_url=vllm_server)
            async with Client(access, "the model", pytest.fail) as client:

                async def reading(value):
                    return read(value, logprobs="logprobs" in body)

                return await client.ask(Request(path, {"model": "tiny", "temperature": 0, **body}, reading))

        return asyncio.run(once())

    return ask


def test_a_chat(ask):
    reply = ask(CHAT, read_chat, messages=QUESTION, max_tokens=5, logprobs=True, top_logprobs=3)
    assert reply.model == "tiny"
    assert (reply.finish, reply.refused) == ("length", False)
    assert reply.usage.completion_tokens == len(reply.logprobs) == 5
    for token in reply.logprobs:
        assert token.logprob == pytest.approx(max(logprob for _, logprob in token.top))
        assert len(token.top) == 3


def test_a_completion_with_the_probabilities_of_its_prompt(ask):
    reply = ask(COMPLETIONS, read_completion, prompt="How many apples", max_tokens=1, echo=True, logprobs=1)
    assert reply.text.startswith("How many apples")
    assert reply.logprobs[0] is None
    assert all(logprob < 0 for logprob in reply.logprobs[1:])
    assert len(reply.tokens) == reply.usage.prompt_tokens + 1


def test_a_request_that_is_too_long_costs_that_request(ask):
    with pytest.raises(Rejected, match="max_model_len=512"):
        ask(CHAT, read_chat, messages=QUESTION, max_tokens=5000)


def test_a_model_that_is_not_there_is_named(ask):
    with pytest.raises(UserError, match="`other` does not exist"):
        ask(CHAT, read_chat, model="other", messages=QUESTION)
