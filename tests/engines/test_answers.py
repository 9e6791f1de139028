"""The generate job, with a real engine: rows to train on, nothing asked twice."""

import json
from dataclasses import replace

import pytest

from harness.api import ANSWERED, Answered, DataSource, Example, Files, Generated, Message
from harness.context import Context
from harness.data.sources import open_dataset
from harness.engines.answers import generate
from harness.engines.pool import Engines
from harness.errors import UserError
from harness.jobs import DataDeclaration, EngineSettings, Generate, MixtureItem, Operation
from harness.testing import tiny_model


def _examples(n=12, last="assistant"):
    for i in range(n):
        turns = (Message("user", f"say {i}"), Message("assistant", "old"), Message("user", "again"))
        yield Example(f"e{i}", turns if last == "user" else (*turns, Message("assistant", "old too")))


SOURCES = {"talk": DataSource(Generated(make=_examples, n=12, recipe={"n": 12}))}
UNANSWERABLE = {"talk": DataSource(Generated(make=lambda: _examples(last="user"), n=12, recipe={"n": 12}))}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("job")).parent


def _declared(**changes):
    ops = (Operation(op="sample", fraction="1/2"),)
    item = MixtureItem(data=DataDeclaration(name="talk", source={"generated": {"n": 12}}, n=12), ops=ops)
    wanted = {"item": item, "engine": EngineSettings(max_length=256), "temperature": 1.0, "samples": 2, "seed": 3}
    return Generate(**{**wanted, "max_new_tokens": 200, **changes})


def _context(folder, model):
    folder.mkdir(exist_ok=True)
    return Context(folder, {"model": model}, {"threads": 1, "batch_size": 4}, lambda _: None)


def test_answers_become_rows_of_their_prompts(tmp_path, model):
    outcome = generate(_declared(), SOURCES, Engines(), _context(tmp_path / "a", model))
    rows = [json.loads(line) for line in (tmp_path / "a" / "examples.jsonl").read_text().splitlines()]
    result = outcome["result"]
    assert result["examples"] == len(rows)
    assert result["examples"] + result["truncated"] == 6 * 2
    for row in rows:
        name, _, number = row["id"].rpartition(".")
        assert number in {"0", "1"}
        assert row[ANSWERED] == name
        roles = [turn["role"] for turn in row["messages"]]
        assert roles == ["user", "assistant", "user", "assistant"]
        assert row["messages"][0]["content"] == f"say {name.removeprefix('e')}"
        assert row["messages"][1]["content"] == "old"
        assert row["messages"][3]["content"] != "old too"


def test_a_second_attempt_asks_for_what_is_missing_and_ends_the_same(tmp_path, model):
    whole = generate(_declared(), SOURCES, Engines(), _context(tmp_path / "whole", model))
    torn = tmp_path / "torn"
    torn.mkdir()
    stored = (tmp_path / "whole" / "responses.jsonl").read_bytes()
    (torn / "responses.jsonl").write_bytes(stored[: len(stored) * 2 // 3])
    again = generate(_declared(), SOURCES, Engines(), _context(torn, model))
    assert again["result"] == whole["result"]
    assert again["measured"]["requests_asked"] + again["measured"]["requests_stored"] == 12
    assert again["measured"]["requests_stored"] > 0
    assert (torn / "examples.jsonl").read_bytes() == (tmp_path / "whole" / "examples.jsonl").read_bytes()


def test_ids_of_half_a_character_come_back(tmp_path, model):
    odd = DataSource(Generated(make=lambda: (replace(e, id=f"\ud83d{e.id}") for e in _examples()), n=12, recipe={}))
    outcome = generate(_declared(), {"talk": odd}, Engines(), _context(tmp_path / "a", model))
    rows = DataSource(Files((str(tmp_path / "a" / "examples.jsonl"),)))
    answers = open_dataset("answers", rows, data_root=None).examples(meta=True)
    assert len(answers) == outcome["result"]["examples"]
    assert all(one.meta[ANSWERED].startswith("\ud83de") and one.id.startswith("\ud83de") for one in answers)


def test_a_conversation_that_ends_with_the_user_leaves_nothing_to_answer(tmp_path, model):
    with pytest.raises(UserError, match="does not end in an assistant turn"):
        generate(_declared(), UNANSWERABLE, Engines(), _context(tmp_path, model))


def test_answers_that_never_end_are_an_error(tmp_path, model):
    with pytest.raises(UserError, match="none of the 12 answers to talk came to an end"):
        generate(_declared(max_new_tokens=1), SOURCES, Engines(), _context(tmp_path, model))


def test_several_greedy_answers_are_refused():
    with pytest.raises(UserError, match="greedy answers are all alike"):
        Answered("talk", samples=4)
    assert Answered("talk", samples=4, temperature=0.7).samples == 4
