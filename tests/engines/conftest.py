"""Requests for the engines."""

import pytest

from harness.engines.protocol import GenerateRequest, LoglikelihoodRequest, Sampling

QUESTIONS = [
    f"Anna has {n} {thing} and finds {n + 3} more. How many?" for n in range(8) for thing in ("nuts", "old coins")
]


@pytest.fixture(scope="session")
def tokenizer(chat_models):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chat_models["a"] / "model")


@pytest.fixture(scope="session")
def prompts(tokenizer):
    """Sixteen prompts of several lengths."""
    return [tuple(tokenizer.encode(question)) for question in QUESTIONS]


@pytest.fixture(scope="session")
def greedy(prompts):
    """Greedy requests, some with a stop text."""
    stops = [("e",), (), ("\n", " a")]
    return [GenerateRequest(str(n), ids, Sampling(96, stop=stops[n % len(stops)])) for n, ids in enumerate(prompts)]


@pytest.fixture(scope="session")
def sampled(prompts):
    """Sampled requests, each with its own seed."""
    return [
        GenerateRequest(f"s{n}", ids, Sampling(48, temperature=0.9, top_p=0.95, seed=1000 + n))
        for n, ids in enumerate(prompts)
    ]


@pytest.fixture(scope="session")
def pairs(prompts):
    """Continuations of one to seven tokens after contexts of several lengths."""
    return [LoglikelihoodRequest(f"l{n}", ids[: -1 - n % 7], ids[-1 - n % 7 :]) for n, ids in enumerate(prompts)]
