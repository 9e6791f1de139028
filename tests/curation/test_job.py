"""The job that curates: portions as files, what a model or a judge says bought once, and what is refused."""

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from harness.api import ChatColumns, Curated, Curation, DataSource, Files, JudgePrompt, Message
from harness.data.sources import open_dataset
from harness.errors import UserError
from harness.judge.settings import Judging


def rows(folder, portion):
    return [json.loads(line) for line in (folder / f"{portion}.jsonl").read_text().splitlines()]


def test_portions_are_files_of_chat_rows(do, parity):
    outcome, folder = do(Curated("talk", parity, "odd"))
    assert outcome["result"]["from"] == 12
    assert outcome["result"]["examples"] == {"even": 6, "odd": 6}
    assert [row["id"] for row in rows(folder, "even")] == ["e0", "e2", "e4", "e6", "e8", "e10"]
    assert rows(folder, "odd")[0] == {
        "score": 1,
        "id": "e1",
        "messages": [
            {"role": "user", "content": "talk: how many are 1?"},
            {"role": "assistant", "content": "They are 1 apples."},
            {"role": "user", "content": "And one more?"},
            {"role": "assistant", "content": "2."},
        ],
    }


@dataclass(frozen=True)
class Compared(Curation):
    """Pairs of an answer and a worse one."""

    def curate(self, examples, tools):
        return {"all": [replace(example, rejected="I do not know.") for example in examples]}


def test_pairs_and_further_columns_come_back_as_they_were(do, talks):
    _, folder = do(Curated("talk", Compared()))
    made = DataSource(Files((str(folder / "all.jsonl"),)), ChatColumns())
    read = open_dataset("talk Compared", made, data_root=None).examples(meta=True)
    assert read == [replace(example, rejected="I do not know.") for example in talks]


@dataclass(frozen=True)
class Columned(Curation):
    """Plain examples, one of whose columns is called like the answer that a pair rejects."""

    def curate(self, examples, tools):
        return {"all": [replace(example, meta={"rejected": "by nobody", "kept": 1}) for example in examples]}


def test_a_column_called_rejected_makes_no_pairs(do):
    _, folder = do(Curated("talk", Columned()))
    made = DataSource(Files((str(folder / "all.jsonl"),)), ChatColumns())
    read = open_dataset("talk Columned", made, data_root=None).examples(meta=True)
    assert {(example.rejected, *example.meta.items()) for example in read} == {(None, ("kept", 1))}


def test_several_datasets_are_curated_together(do, parity):
    _, folder = do(Curated(("talk", "chat"), parity, "even"))
    assert [row["id"] for row in rows(folder, "even")][:7] == [*(f"talk/e{n}" for n in range(0, 12, 2)), "chat/e0"]


def test_one_dataset_given_twice_is_refused(do, parity):
    with pytest.raises(UserError, match="a curation is given some examples twice"):
        do(Curated(("talk", "talk"), parity, "even"))


@dataclass(frozen=True)
class Broken(Curation):
    """Everything that a curation must not do."""

    how: str = ""

    def curate(self, examples, tools):
        first = examples[0]
        tools.tell("too bad", len(examples))
        tools.tell("which", [example.id for example in examples] * 9)
        return {
            "empty": {"all": []},
            "missing": {},
            "twice": {"all": [first, first]},
            "turns": {"all": [type(first)("x", (Message("assistant", "hello"),))]},
            "meta": {"all": [type(first)("x", first.messages, {"set": {1}})]},
        }[self.how]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("empty", r"^own of talk: nothing is left of it; too bad: 12 \(loosen what selects"),
        ("missing", "own of talk: nothing is left of it"),
        ("twice", "the portion all holds two examples of one id"),
        ("turns", "turn 1 is the assistant's where the user's is due"),
        ("meta", "example x: meta is no JSON"),
    ],
)
def test_what_a_curation_must_not_return(do, how, why):
    with pytest.raises(UserError, match=why):
        do(Curated("talk", Broken(how)))


@dataclass(frozen=True)
class Likelier(Curation):
    """The half that the model finds likelier."""

    needs: ClassVar = frozenset({"model"})

    def curate(self, examples, tools):
        found = tools.likelihood(examples)
        tools.tell("nll", found)
        means = [nll / n for nll, n in found]
        order = sorted(range(len(examples)), key=means.__getitem__)
        return {"all": [examples[n] for n in sorted(order[: len(order) // 2])]}


def expected(model_dir, examples):
    """Summed losses of response tokens by transformers itself, and their number."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.api import Part
    from harness.data.chat import Renderer

    model, renderer = (
        AutoModelForCausalLM.from_pretrained(model_dir),
        Renderer(AutoTokenizer.from_pretrained(model_dir)),
    )
    for example in examples:
        rendered = renderer.render(example)
        ids = torch.tensor([rendered.ids])
        labels = torch.tensor(
            [[i if p == Part.RESPONSE else -100 for i, p in zip(rendered.ids, rendered.parts, strict=True)]]
        )
        n = int((labels != -100).sum())
        with torch.no_grad():
            yield float(model(ids, labels=labels).loss) * n, n


def test_likelihoods_are_those_of_the_model(do, chat_models, talks):
    outcome, _ = do(Curated("talk", Likelier(), model="base"), model=chat_models["a"])
    for (nll, n), (wanted, count) in zip(
        outcome["result"]["told"]["nll"], expected(chat_models["a"] / "model", talks), strict=True
    ):
        assert n == count
        assert nll == pytest.approx(wanted, rel=1e-5)
    assert outcome["measured"]["requests_asked"] == 18


def test_a_second_attempt_asks_the_model_for_what_is_missing(do, context, chat_models):
    data = Curated("talk", Likelier(), model="base")
    whole, folder = do(data, name="whole", model=chat_models["a"])
    torn = context("torn", model=chat_models["a"])
    stored = (folder / "responses.jsonl").read_bytes()
    (torn.folder / "responses.jsonl").write_bytes(stored[: len(stored) * 2 // 3])
    again, _ = do(data, into=torn)
    assert again["result"] == whole["result"]
    assert 0 < again["measured"]["requests_asked"] < 18
    assert again["measured"]["requests_asked"] + again["measured"]["requests_stored"] == 18


# --- a judge -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rated(Curation):
    """What the judge rates 6 or more."""

    needs: ClassVar = frozenset({"judge"})

    def curate(self, examples, tools):
        prompts = [JudgePrompt((Message("user", example.messages[1].content),), parse=_rating) for example in examples]
        verdicts = tools.ask(prompts)
        tools.tell("outcomes", sorted(Counter(verdict.outcome for verdict in verdicts).items()))
        return {"all": [e for e, verdict in zip(examples, verdicts, strict=True) if (verdict.value or 0) >= 6]}


def _rating(reply):
    found = re.findall(r"\[\[(\d+)\]\]", reply.text)
    return int(found[-1]) if found else None


def rates(body):
    """By the number in the example; those of two digits get words that hold no rating."""
    number = int(re.findall(r"\d+", body["messages"][0]["content"])[0])
    return f"Rating: [[{number}]]" if number < 10 else "I would rather not say."


def test_a_judge_is_asked_once_for_all_and_paid_once(do, scripted):
    with scripted.ScriptedJudge(rates) as server:
        judging = Judging(model="judge-1", base_url=server.base_url, name="scripted", reask=1, timeout=5)
        outcome, folder = do(Curated("talk", Rated()), judging=judging)
        bought = sum(server.completed.values())
        again, other = do(Curated("talk", Rated()), judging=judging, name="again")
        assert sum(server.completed.values()) == bought
    assert [row["id"] for row in rows(folder, "all")] == ["e6", "e7", "e8", "e9"]
    assert outcome["result"]["told"]["outcomes"] == [("judge_unparsed", 2), ("ok", 10)]
    assert (again["result"], rows(other, "all")) == (outcome["result"], rows(folder, "all"))
    assert outcome["measured"]["judge"]["bought"]["replies"] == bought
    assert again["measured"]["judge"]["bought"]["replies"] == 0


# --- other rows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unlisted(Curation):
    """What a file does not list."""

    listed: Files

    @property
    def data(self):
        return (self.listed,)

    def curate(self, examples, tools):
        known = {row["id"] for row in tools.read(self.listed)}
        return {"all": [example for example in examples if example.id not in known]}


def test_rows_of_other_files_are_read_as_they_were_planned(do, declare, tmp_path):
    listed = tmp_path / "listed.jsonl"
    listed.write_text("".join(json.dumps({"id": f"e{n}"}) + "\n" for n in range(10)))
    data = Curated("talk", Unlisted(Files((str(listed),))))
    _, folder = do(data)
    assert [row["id"] for row in rows(folder, "all")] == ["e10", "e11"]
    before = declare(data)
    listed.write_text(json.dumps({"id": "e0"}) + "\n")
    assert declare(data) != before
