"""DeMoRecon at a scripted endpoint: variants, replies that make no sense, and an endpoint that fails half way."""

from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest

from harness.api import Curated, DataInfo, JudgeReply, Mixture, Stage
from harness.arms import ArmSpec, bind
from harness.discovery import load_plugin
from harness.errors import HarnessError
from harness.judge.judgments import read
from harness.judge.settings import Judging

demorecon = load_plugin("demorecon").module
SINGLE = 6
"""Of the twelve conversations at hand so many have one exchange; the others have two."""


def editor(body):
    """Does what is asked, in the plainest way."""
    text = body["messages"][-1]["content"]
    if text.startswith("Take the instruction below apart"):
        asked = re.search(r"Instruction:\n(.*)\n", text)[1]
        return f"Sure: {json.dumps({'facts': ['There are apples.'], 'sub_instructions': [asked, 'Be brief.']})}"
    if text.startswith("An instruction makes these demands"):
        number = re.search(r"Change demand (\d)", text)[1]
        demand = re.search(rf"^{number}\. (.*)$", text, re.MULTILINE)[1]
        return json.dumps({"sub_instruction": f"Not so: {demand}"})
    if text.startswith("Write one instruction"):
        demands = re.findall(r"^\d\. (.*)$", text, re.MULTILINE)
        return json.dumps({"instruction": " ".join(demands)})
    if text.startswith("The response below"):
        return "revised"
    return f"answer to {text}"


def variants(**changes):
    chosen = {"seeds": None, "variants": 1, "responses": "generate", "keep": True, "max_tokens": 64}
    return Curated("talk", demorecon.Variants(**{**chosen, **changes}))


def judging(server, **settings):
    return Judging(model="editor", base_url=server.base_url, name="scripted", timeout=5.0, **settings)


def rows(folder):
    return [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]


def bought(tmp_path):
    """How often each reply stands in the store."""
    records = [record for judge in (tmp_path / "store" / "judgments").glob("*") for record in read(judge)]
    return Counter(record.key for record in records)


# --- variants --------------------------------------------------------------------------------------------------------


def test_variants_differ_from_their_seeds_in_one_demand(do, scripted):
    with scripted.ScriptedJudge(editor) as server:
        outcome, folder = do(variants(), judging=judging(server))
    told, made = outcome["result"]["told"], rows(folder)[12:]
    assert [row["id"] for row in rows(folder)[:12]] == [f"e{i}" for i in range(12)]
    assert len(made) == SINGLE
    steps = ("decompose", "change", "reconstruct", "respond")
    assert told == {"seeds": 6, "variants": 6, "replies": {f"{step}: ok": 6 for step in sorted(steps)}}
    assert len({row["id"].endswith("~0") for row in made}) == 2  # the seed decides which demand is changed
    for row in made:
        seed, _, number = row["id"].partition("~")
        asked = f"talk: how many are {seed[1:]}?"
        demands = [asked, "Be brief."]
        demands[int(number)] = f"Not so: {demands[int(number)]}"
        turns = [turn["content"] for turn in row["messages"]]
        assert turns == [" ".join(demands), f"answer to {' '.join(demands)}"]
        assert (row["variant_of"], row["new_demand"]) == (seed, demands[int(number)])
        assert row["score"] == int(seed[1:])


def test_responses_can_be_revised_and_several_demands_changed_in_turn(do, scripted):
    with scripted.ScriptedJudge(editor) as server:
        _, folder = do(variants(variants=5, responses="revise", keep=False), judging=judging(server))
    made = rows(folder)
    assert sorted(row["id"] for row in made) == sorted(f"e{i}~{k}" for i in range(0, 12, 2) for k in (0, 1))
    assert {row["messages"][-1]["content"] for row in made} == {"revised"}


def test_seeds_are_drawn_and_a_smaller_draw_lies_within_a_larger_one(do, scripted):
    with scripted.ScriptedJudge(editor) as server:
        drawn = []
        for seeds in (2, 4):
            _, folder = do(variants(seeds=seeds, keep=False), judging=judging(server), name=f"job{seeds}")
            drawn.append({row["variant_of"] for row in rows(folder)})
        calls = server.calls
    assert (len(drawn[0]), len(drawn[1])) == (2, 4)
    assert drawn[0] < drawn[1]
    assert calls == 4 * 4  # those of the smaller draw were bought already


# --- replies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"facts": [], "sub_instructions": ["a", " b\\n c "]}', demorecon.Parts((), ("a", "b c"))),
        ('```json\n{"facts": ["f"], "sub_instructions": ["a"]}\n```', demorecon.Parts(("f",), ("a",))),
        ('{"facts": ["f"], "sub_instructions": []}', None),
        ('{"facts": ["f"], "sub_instructions": ["a", ""]}', None),
        ('{"facts": ["f"], "sub_instructions": "a"}', None),
        ('{"facts": ["f"], "sub_instructions": [1]}', None),
        ('{"sub_instructions": ["a"]}', None),
        ('["a"]', None),
        ("} no {", None),
        ("I would rather not.", None),
        ("", None),
    ],
)
def test_what_is_read_of_a_decomposition(text, parts):
    assert demorecon.taken_apart(JudgeReply(text)) == parts


def test_a_response_that_was_cut_off_is_none():
    assert demorecon.responded(JudgeReply("half a resp", finish="length")) is None
    assert demorecon.responded(JudgeReply(" \n")) is None


def test_replies_that_make_no_sense_cost_their_variant_and_are_counted(do, scripted):
    def confused(body):
        text = body["messages"][-1]["content"]
        if "are 2?" in text and text.startswith("Take"):
            return "It is an instruction."
        if "are 4?" in text and text.startswith("An instruction"):
            return json.dumps({"sub_instruction": re.search(r"^(\d)\. (.*)$", text, re.MULTILINE)[2]})
        return editor(body)

    with scripted.ScriptedJudge(confused) as server:
        outcome, folder = do(variants(variants=2), judging=judging(server))
    replies = outcome["result"]["told"]["replies"]
    made = {row["id"] for row in rows(folder)[12:]}
    assert replies["decompose: judge_unparsed"] == 1
    assert replies["decompose: ok"] == 5
    assert replies["change: judge_unparsed"] == 1  # the demand that it left as it was
    assert replies["respond: ok"] == len(made) == 9
    assert not made & {"e2~0", "e2~1", "e4~0"}


@pytest.mark.parametrize("keep", [True, False])
def test_without_any_variant_there_is_no_data(do, scripted, refused, keep):
    with scripted.ScriptedJudge(lambda _: "no") as server:
        said = refused(do, variants(keep=keep), judging=judging(server))
        assert "no variant came of 6 instructions: {'decompose: judge_unparsed': 6}" in said


def test_conversations_of_several_exchanges_have_no_variants(refused, talks):
    tools = SimpleNamespace(seed=0, ask=lambda prompts: [None for _ in prompts])
    said = refused(variants().curation.curate, talks[1::2], tools)
    assert said.startswith("no variant came of 0 instructions: {} (give single exchanges")


# --- an endpoint that fails ------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_what_was_bought_before_the_endpoint_failed_is_not_bought_again(do, scripted, tmp_path, monkeypatch):
    monkeypatch.setenv("EDITOR_KEY", "right")
    with scripted.ScriptedJudge(editor, key="right") as server:

        def withdrawn(body):
            if len(server.completed) >= 9:
                server.key = "another"
            return editor(body)

        server.answer = withdrawn
        settings = judging(server, api_key_env="EDITOR_KEY", concurrency=2)
        with pytest.raises(HarnessError):
            do(variants(), judging=settings)
        half = bought(tmp_path)
        assert 9 <= len(half) < 4 * SINGLE
        server.answer, server.key = editor, "right"
        outcome, folder = do(variants(), judging=settings)
        assert max(server.completed.values()) == 1
        assert sum(server.completed.values()) == 4 * SINGLE
    assert set(half) < set(bought(tmp_path))
    assert max(bought(tmp_path).values()) == 1
    assert outcome["measured"]["judge"]["bought"]["replies"] == 4 * SINGLE - len(half)
    assert len(rows(folder)) == 12 + SINGLE


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.timeout(240)
def test_faults_change_nothing(do, scripted, times):
    faults = {"429": 0.1 * times, "5xx": 0.1 * times, "reset": 0.05 * times}
    with scripted.ScriptedJudge(editor) as clean:
        _, wanted = do(variants(), judging=judging(clean), name="clean")
    with scripted.ScriptedJudge(editor, faults=faults) as server:
        _, folder = do(variants(), judging=judging(server).model_copy(update={"name": "faulty"}), name="faulty")
    assert rows(folder) == rows(wanted)


# --- the strategy ----------------------------------------------------------------------------------------------------


def test_the_stages_of_any_strategy_get_the_variants():
    data = {"maths": DataInfo("maths", "specialist", 60), "chats": DataInfo("chats", "general", 60)}
    arm = ArmSpec(("demorecon", "mixed_sequential"), {"demorecon": {"role": "general", "seeds": 3}})
    curation = demorecon.Variants(3, 1, "generate", keep=True, max_tokens=1024)
    assert list(bind(arm).stages(data)) == [
        Stage("specialist", Mixture.of("maths")),
        Stage("general", Mixture.of(Curated("chats", curation))),
    ]
