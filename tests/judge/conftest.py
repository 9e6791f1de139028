"""Questions for a judge, a parser of its ratings, and a judge's settings for a server."""

import re

import pytest

from harness.api import JudgePrompt, Message
from harness.endpoints.availability import Pace
from harness.judge.judge import Judge
from harness.judge.settings import Judging

QUICK = Pace(first=0.01, longest=0.05, first_probe=0.01, longest_probe=0.1)


def rating(reply):
    """The last `[[number]]` from 1 to 10."""
    found = re.findall(r"\[\[(\d+)\]\]", reply.text)
    return int(found[-1]) if found and 1 <= int(found[-1]) <= 10 else None


def question(number, **changes):
    messages = (Message("system", "Rate it."), Message("user", f"answer {number}"))
    return JudgePrompt(messages, **{"parse": rating, "max_tokens": 64, **changes})


@pytest.fixture(name="question")
def question_fixture():
    """The prompt of a number: `question(7, max_tokens=8)`."""
    return question


@pytest.fixture
def ask():
    """Asks a judge for ratings: `ask(judge, range(9))` is a mapping of question numbers, as text, to judgments."""

    def ask(judge, numbers, **changes):
        return dict(judge.complete((str(n), question(n, **changes)) for n in numbers))

    return ask


@pytest.fixture
def notices():
    """What users are told."""
    return []


@pytest.fixture
def open_judge(tmp_path, notices):
    """A judge that asks a server, with its store in the test's folder: `with open_judge(server) as judge`."""

    def open_judge(server, store=tmp_path / "store", pace=QUICK, **settings):
        values = {"model": "judge-1", "base_url": server.base_url, "timeout": 2.0, "name": "scripted", **settings}
        return Judge(Judging(**values), store, notice=notices.append, pace=pace)

    return open_judge
