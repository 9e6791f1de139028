"""A stage looks at its tokenizer and data before it reads weights, and tells all that is wrong at once."""

import json
import shutil
from dataclasses import replace

import pytest

from harness.api import DataSource, Example, Generated, Message
from harness.errors import Refused
from harness.train.preflight import check
from harness.train.stagedata import StageData
from harness.train.world import World


@pytest.fixture
def start(base, tmp_path):
    """A copy of the starting model's folder without its weights: nothing here may need them."""
    folder = tmp_path / "start"
    shutil.copytree(base / "model", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.fixture
def refusals(make, start, tmp_path):
    """What stands in the way of a stage; none where all is well."""

    def look(world=World(), sources=make.sources, **settings):  # noqa: B008 -- frozen
        data = StageData(
            make.declare(mixture=("first", "second"), **settings), sources, make.loss, make.context(tmp_path), start
        )
        try:
            check(data, world)
        except Refused as error:
            return list(error.lines)
        return []

    return look


def test_all_is_well(refusals):
    assert refusals() == []


def test_a_world_that_was_not_asked_for(refusals):
    assert refusals(World(size=2)) == [
        "the launcher started 2 processes, and 1 were asked for (start 1, or --set train.processes)"
    ]


def test_a_template_that_drops_what_is_to_be_learnt(refusals, start):
    template = "{% for m in messages if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% endfor %}"
    (start / "chat_template.jinja").write_text(template)
    said = refusals()
    assert [line.partition(",")[0] for line in said] == ["first", "second"]


def test_a_model_too_small_for_its_tokenizer_and_data(refusals, start, make):
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "vocab_size": 40, "max_position_embeddings": 8}))
    long = Example("long", (Message("user", "red " * 20), Message("assistant", "blue")))
    sources = {**make.sources, "first": DataSource(Generated(lambda: iter([long]), n=1, recipe={}))}
    said = refusals(sources=sources)
    assert "and the model has 40" in said[0]
    assert "an example of first has" in said[1]
    assert "context 8 (--set train.max_length=8)" in said[1]
    assert any("second" in line for line in said)


def test_the_stage_itself_looks_first(make, stage, base, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    (broken / "model" / "model.safetensors").write_bytes(b"not weights")
    (broken / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(Refused) as caught:
        stage(start=broken, loss=replace(make.loss))
    assert "first, example" in caught.value.lines[0]
