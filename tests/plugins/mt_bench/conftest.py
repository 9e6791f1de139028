"""MT-Bench's data in small, made up here; the real data where there is a mirror; and a scorer driven by hand."""

import json
import shutil
import warnings
from types import SimpleNamespace

import pytest
from harness.plugins.mt_bench.fastchat import PROMPTS, QUESTIONS, REFERENCES

from harness.api import Item, JudgeReply, Reply, Response, Verdict
from harness.data.hubrows import read_now
from harness.data.mirror import mirrored


def references(numbers, says="the reference"):
    return [
        {"question_id": n, "choices": [{"index": 0, "turns": [f"{says} {n} one", f"{says} {n} two"]}]} for n in numbers
    ]


def prompts():
    """Prompts in the form of FastChat's, with the names it gives to what they are filled with."""
    single, double = "{question}|{answer}", "{question_1}|{answer_1}|{question_2}|{answer_2}"
    pair = "{question}|{answer_a}|{answer_b}"
    pairs = "{question_1}|{question_2}|{answer_a_1}|{answer_a_2}|{answer_b_1}|{answer_b_2}"
    texts = {
        "single-v1": single,
        "single-v1-multi-turn": double,
        "single-math-v1": "{ref_answer_1}|" + single,
        "single-math-v1-multi-turn": "{ref_answer_1}|{ref_answer_2}|" + double,
        "pair-v2": pair,
        "pair-v2-multi-turn": pairs,
        "pair-math-v1": "{ref_answer_1}|" + pair,
        "pair-math-v1-multi-turn": "{ref_answer_1}|{ref_answer_2}|" + pairs,
    }
    return [{"name": name, "system_prompt": f"as {name}", "prompt_template": text} for name, text in texts.items()]


class Bench:
    """Items and answers, and a scorer driven by hand."""

    questions = QUESTIONS
    references = staticmethod(references)

    def __init__(self):
        self.data = {PROMPTS: prompts(), REFERENCES: references(range(101, 131))}
        """Rows by dataset."""

    @staticmethod
    def item(category="writing", number=81, **more):
        content = {"question_id": number, "category": category, "turns": ["what?", "and why?"], **more}
        return Item(str(number), content)

    @staticmethod
    def answered(item, *texts):
        """An item with its replies, one in each round."""
        return Response(item, tuple((Reply(text, "stop"),) for text in texts or ("first", "second {answer}")))

    def judge(self, scorer, response, *says, opponent=None):
        """The scores of an item by a judge that says these texts, or gives these verdicts; and the prompts."""
        scoring = scorer.score(response, self.data.__getitem__, opponent)
        asked = next(scoring)
        assert len(asked) == len(says)
        with pytest.raises(StopIteration) as end:
            scoring.send([self._verdict(prompt, said) for prompt, said in zip(asked, says, strict=True)])
        return SimpleNamespace(scores=end.value.value, asked=asked)

    @staticmethod
    def _verdict(prompt, said):
        if isinstance(said, Verdict):
            return said
        value = prompt.parse(JudgeReply(said))
        return Verdict(value, "judge_unparsed" if value is None else "ok", said)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(scope="session")
def real(mirror):
    """FastChat's own rows by dataset."""
    hubs = (QUESTIONS, PROMPTS, REFERENCES)
    if not all(mirrored(hub, mirror) for hub in hubs):
        pytest.skip(f"the mirror holds no {QUESTIONS.id}")
    read = read_now(hubs, mirror)
    return {hub: read(hub) for hub in hubs}


@pytest.fixture(scope="session")
def fastchat():
    """FastChat's own judging, whose calls go to nobody."""
    pytest.importorskip("anthropic", reason="FastChat's judging imports anthropic")
    pytest.importorskip("openai", reason="FastChat's judging imports openai")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its regular expressions are no raw strings
        from fastchat.llm_judge import common
    return common


@pytest.fixture(scope="session")
def long_model(chat_models, tmp_path_factory):
    """A small random chat model with room for long conversations."""
    folder = shutil.copytree(chat_models["a"] / "model", tmp_path_factory.mktemp("long") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1 << 15}))
    return folder
