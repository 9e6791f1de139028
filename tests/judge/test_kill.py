"""Whatever kills the process that asks: no stored reply is lost, none is there twice, and none is bought twice.

What was in flight at the moment of the kill may be asked again, and nothing else.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.judge.judgments import read
from harness.judge.prompts import reply_key, request_body
from harness.judge.settings import Judging

QUESTIONS_A_KILL = 25
CONCURRENCY = 8
SETTINGS = Judging(model="judge-1", base_url="http://localhost/v1", name="scripted").settings()


@pytest.fixture
def asking(tmp_path):
    """Processes that ask a server for ratings and keep the replies in one store."""
    started = []

    def asking(server, questions):
        arguments = [Path(__file__).with_name("conftest.py"), server.base_url, tmp_path, questions]
        script = Path(__file__).with_name("asking.py")
        process = subprocess.Popen(
            [sys.executable, script, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield asking
    for process in started:
        process.kill()
        process.communicate()


def ratings(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return dict(line.split(" ", 1) for line in out.splitlines() if " ok " in line)


def stored(folder):
    """Every record that is there, by key; none may be there twice."""
    records = [record for judge in (folder / "judgments").glob("*") for record in read(judge)]
    assert len({record.key for record in records}) == len(records)
    return {record.key: record for record in records}


@pytest.mark.timeout(120)
def test_killed_now_and_then(scripted, asking, tmp_path, question):
    kill_and_compare(4, scripted, asking, tmp_path, question)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_killed_at_fifty_moments(scripted, asking, tmp_path, question):
    kill_and_compare(50, scripted, asking, tmp_path, question)


def kill_and_compare(times, scripted, asking, folder, question):
    questions = times * QUESTIONS_A_KILL
    prompts = [question(number) for number in range(questions)]
    keys = {scripted.identity(request_body(p, SETTINGS)): reply_key(p, SETTINGS, 0) for p in prompts}
    lost = Counter()
    before = {}
    with scripted.ScriptedJudge(faults={"429": 0.1, "reset": 0.02}, delay=0.01) as server:
        for _ in range(times):
            sold = server.completed.copy()
            process = asking(server, questions)
            some = random.randint(1, QUESTIONS_A_KILL)
            while server.completed.total() < sold.total() + some and process.poll() is None:
                time.sleep(0.001)
            time.sleep(random.random() * 0.03)
            process.send_signal(signal.SIGKILL)
            process.wait()
            while server.busy:  # the last replies leave
                time.sleep(0.001)
            now = stored(folder)
            assert now.items() >= before.items()
            before = now
            in_flight = [name for name in server.completed - sold if keys[name] not in now]
            assert len(in_flight) <= CONCURRENCY
            lost.update(in_flight)
        last = ratings(asking(server, questions))
        again = ratings(asking(server, questions))
        assert last == again
        assert set(last) == {str(number) for number in range(questions)}
        assert set(stored(folder)) == set(keys.values())
        assert server.completed == Counter([*keys]) + lost


@pytest.mark.timeout(120)
def test_two_at_once(scripted, asking, tmp_path):
    with scripted.ScriptedJudge(delay=0.01) as server:
        one, other = asking(server, 100), asking(server, 100)
        assert ratings(one) == ratings(other)
        assert len(ratings(asking(server, 100))) == 100
        assert server.calls == 100
    assert len([*(tmp_path / "judgments").glob("*/*.jsonl")]) == 1


@pytest.mark.timeout(120)
def test_whoever_waits_goes_on_when_the_buyer_is_killed(scripted, asking, tmp_path):
    with scripted.ScriptedJudge() as server:
        first = asking(server, 2000)
        while not stored(tmp_path):
            time.sleep(0.01)
        server.delay = 4.0  # so that the first is far from its end when the other begins
        waiting = asking(server, 2000)
        while "is being asked by another process" not in waiting.stdout.readline():
            assert waiting.poll() is None
        server.delay = 0.0
        first.kill()
        first.wait()
        assert len(ratings(waiting)) > 0
    assert len(stored(tmp_path)) == 2000
    assert server.completed.total() <= 2000 + CONCURRENCY
