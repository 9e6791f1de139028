"""Selections as jobs: what a judge says is bought once, and benchmarks' items are those that are asked."""

import json
import re
from dataclasses import dataclass

import pytest
from harness.plugins.alpagasus import JudgedHighly

from harness.api import Curated
from harness.errors import HarnessError
from harness.judge.settings import Judging
from harness.store import Store
from harness.testing import run_tiny


def rating(body):
    """Five for even numbers of apples, and three for odd ones."""
    number = int(re.search(r"They are (\d+) apples", body["messages"][-1]["content"])[1])
    return "3" if number % 2 else "5"


@dataclass
class Failing:
    """A judge who answers some questions, and then refuses everybody."""

    answers: int

    def __call__(self, body):
        self.answers -= 1
        if self.answers == 0:
            self.server.key = "another key from now on"
        return rating(body)


def test_a_judge_that_fails_half_way_is_asked_for_the_rest_alone(do, scripted, context):
    data = Curated("talk", JudgedHighly(4.5, "", "accurate"))
    failing = Failing(6)
    with scripted.ScriptedJudge(failing) as server:
        failing.server = server
        judging = Judging(model="judge-1", base_url=server.base_url, name="scripted", concurrency=1, timeout=5)
        with pytest.raises(HarnessError):
            do(data, judging=judging, into=context())
        assert server.fates["answered"] == 6
        bought = set(server.completed)
        server.key = None
        outcome, folder = do(data, judging=judging, into=context())
        assert server.fates["answered"] == 12
        assert len(bought) == 6
        assert set(server.completed.values()) == {1}
    kept = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    assert [row["id"] for row in kept] == ["e0", "e2", "e4", "e6", "e8", "e10"]
    assert [row["alpagasus"] for row in kept] == [5.0] * 6
    assert outcome["result"]["told"] == {"no rating": {}}
    assert outcome["measured"]["judge"]["bought"]["replies"] == 6


def test_a_judge_that_answers_nonsense_costs_the_examples_and_no_more(do, scripted):
    data = Curated("talk", JudgedHighly(4.5, "", "accurate"))

    def reply(body):
        return "It depends." if "They are 4 apples" in body["messages"][-1]["content"] else rating(body)

    with scripted.ScriptedJudge(reply) as server:
        judging = Judging(model="judge-1", base_url=server.base_url, name="scripted", reask=1)
        outcome, folder = do(data, judging=judging)
        assert server.fates["answered"] == 13
    assert [json.loads(line)["id"] for line in (folder / "all.jsonl").read_text().splitlines()] == [
        "e0",
        "e2",
        "e6",
        "e8",
        "e10",
    ]
    assert outcome["result"]["told"] == {"no rating": {"judge_unparsed": 1}}


def test_a_run_is_cleaned_of_what_its_own_benchmarks_ask(tmp_path):
    run_tiny(["decontaminate:n=8:role=general"], tmp_path)
    store = Store(tmp_path / "store")
    manifests = [entry.manifest for entry in store.entries()]
    (cleaned,) = [manifest for manifest in manifests if "curation" in manifest["declared"]]
    told, declared = cleaned["result"]["told"]["overlaps"], cleaned["declared"]["benchmarks"]
    assert set(declared) == {"playground_arithmetic", "playground_code", "playground_chat"}
    assert {overlap["benchmark"] for overlap in told} <= set(declared)
    assert 0 < len(told) == cleaned["result"]["from"] - cleaned["result"]["examples"]["all"]
    assert {overlap["item"] for overlap in told} <= set(map(str, range(200)))  # of all, though the run asks for eight
    trained = next(
        m["result"]["datasets"] for m in manifests if m["label"].startswith("decontaminate@") and m["kind"] == "train"
    )
    assert trained["playground_chat Clean"]["examples"] == cleaned["result"]["examples"]["all"]
