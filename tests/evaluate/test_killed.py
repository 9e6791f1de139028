"""A run that asks in rounds and is judged, killed with all its workers at random moments, ends in the same numbers.

No stored answer or judgment is lost, counted twice or bought twice: what was in flight may be asked again, and nothing
else.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from harness.judge.judgments import read

ITEMS = 40
CONCURRENCY = 8

PLUGIN = f'''
"""Twice asked, and judged once for each answer."""

import re
from dataclasses import dataclass

from harness.api import Ask, Benchmark, Evaluator, Item, JudgePrompt, Message
from harness.api import Plugin, Questions, Scorer, Scores, hookimpl

PLUGIN = Plugin(name="twice", version="1.0", summary="Twice asked, and judged.")


def rating(reply):
    found = re.search(r"\\[\\[(\\d+)\\]\\]", reply.text)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Twice(Questions):
    def items(self, read):
        return [Item(str(n), {{"question": f"What are {{n}} apples and {{n + 2}} apples?"}}) for n in range({ITEMS})]

    def ask(self, item):
        asked = Message("user", item.content["question"])
        (first,) = yield [Ask((asked,), 24)]
        yield [Ask((asked, Message("assistant", first.text), Message("user", "And one more?")), 24)]


@dataclass(frozen=True)
class Rated(Scorer):
    needs = frozenset({{"judge"}})

    def score(self, response, read, opponent):
        wanted = [
            JudgePrompt((Message("user", f"{{response.item.id}}.{{n}}: {{reply.text}}"),), rating, max_tokens=32)
            for n, reply in enumerate(response.replies)
        ]
        verdicts = yield wanted
        if any(verdict.value is None for verdict in verdicts):
            return Scores({{}}, missing="judge_unparsed", judgments=tuple(verdicts))
        return Scores({{"rating": sum(v.value for v in verdicts) / 20}}, judgments=tuple(verdicts))


@hookimpl
def evaluator(arm):
    return [Evaluator("twice", "own-1", Benchmark(Twice(), Rated(), "rating"))]
'''


@pytest.fixture
def run(command, chat_models, tmp_path):
    """Starts the run into a store of this name, with a judge at this address."""
    (tmp_path / "twice.py").write_text(PLUGIN)
    recipe = {
        "name": "killed",
        "model": str(chat_models["a"] / "model"),
        "data": {},
        "benchmarks": ["./twice.py"],
        "runtime": {"batch_size": 4},
    }
    (tmp_path / "killed.yaml").write_text(json.dumps(recipe))

    def start(name, url):
        judge = {"model": "m", "base_url": url, "name": "scripted", "concurrency": CONCURRENCY}
        settings = [word for key, value in judge.items() for word in ("--set", f"judge.{key}={value}")]
        places = ("--store", tmp_path / name, "--out", tmp_path / f"{name}-run")
        return command("run", "killed.yaml", "--plugins", "base", "--no-baseline", *places, *settings, cwd=tmp_path)

    return start


def result(folder):
    (row,) = (folder / "rows").glob("*.json")
    return json.loads(row.read_text())["result"]


def stored(store):
    """Every reply in the store, by key; none may be there twice."""
    records = [record for judge in (store / "judgments").glob("*") for record in read(judge)]
    assert len({record.key for record in records}) == len(records)
    return {record.key: record.reply.text for record in records}


def kill(process):
    """End the command and all its workers at once, as if the machine had failed."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(family[1:], timeout=30)


def killed_and_compared(kills, run, scripted, tmp_path, turn=""):
    """Kill a run so often, or until it is done, and compare it with one that nobody kills; returns how often it was."""
    with scripted.ScriptedJudge(delay=0.05) as judge:
        process = run(f"whole{turn}", judge.base_url)
        began = time.monotonic()
        _, err = process.communicate(timeout=300)
        took = time.monotonic() - began
        assert process.returncode == 0, err
    whole, texts = result(tmp_path / f"whole{turn}-run"), stored(tmp_path / f"whole{turn}")
    assert whole["tasks"]["twice"]["n_scored"] == ITEMS
    assert len(texts) == 2 * ITEMS
    draw, killed, before = random.Random(), 0, {}
    with scripted.ScriptedJudge(delay=0.05) as judge:
        while True:
            process = run(f"killed{turn}", judge.base_url)
            try:
                process.wait(draw.uniform(0.2, 0.9) * took if killed < kills else 300)
            except subprocess.TimeoutExpired:
                kill(process)
                killed += 1
                now = stored(tmp_path / f"killed{turn}")
                assert before.items() <= now.items()
                before = now
                continue
            _, err = process.communicate()
            assert process.returncode == 0, err
            break
        bought = Counter(judge.completed)
    assert result(tmp_path / f"killed{turn}-run") == whole
    assert stored(tmp_path / f"killed{turn}") == texts
    assert len(bought) == 2 * ITEMS
    assert sum(bought.values()) - len(bought) <= CONCURRENCY * killed
    return killed


@pytest.mark.timeout(300)
def test_ctrl_c_waits_for_replies_that_are_paid_for(run, scripted, tmp_path):
    with scripted.ScriptedJudge(delay=0.5) as judge:
        process = run("stopped", judge.base_url)
        while not judge.completed:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        sold = judge.completed.total()
    assert "stopping: waits up to 20 s for judgments that are paid for" in err
    assert CONCURRENCY <= len(stored(tmp_path / "stopped")) == sold < 2 * ITEMS


@pytest.mark.timeout(500)
def test_killed_now_and_then(run, scripted, tmp_path):
    killed_and_compared(3, run, scripted, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_killed_fifty_times(run, scripted, tmp_path):
    killed, turn = 0, 0
    while killed < 50:
        killed += killed_and_compared(50 - killed, run, scripted, tmp_path, turn=f"-{turn}")
        turn += 1
