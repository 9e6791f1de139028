import json
import logging
import shutil
from collections import deque

import pytest
from safetensors.torch import load_file, save_file

from harness.engines.pool import Engines
from harness.errors import UserError
from harness.jobs import EngineSettings

SETTINGS = EngineSettings(name="hf")


def answers(engine, requests):
    return dict(answer for lot in engine.answer(deque(requests)) for answer in lot)


@pytest.fixture
def engines():
    pool = Engines()
    yield pool
    pool.close()


def test_a_model_swapped_in_answers_as_in_a_fresh_engine(engines, chat_models, greedy):
    first = engines.open(SETTINGS, chat_models["a"] / "model", {})
    of_a = answers(first, greedy)
    second = engines.open(SETTINGS, chat_models["b"] / "model", {})
    assert second is first
    of_b = answers(second, greedy)
    assert of_b != of_a
    fresh = Engines()
    assert answers(fresh.open(SETTINGS, chat_models["b"] / "model", {}), greedy) == of_b
    fresh.close()


def test_the_same_model_is_not_loaded_again(engines, chat_models, caplog):
    caplog.set_level(logging.INFO, logger="harness")
    first = engines.open(SETTINGS, chat_models["a"] / "model", {})
    weights = first._model
    assert engines.open(SETTINGS, chat_models["a"] / "model", {})._model is weights
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "chat_template.jinja"])
def test_another_kind_of_model_gets_a_fresh_engine_with_the_reason(engines, chat_models, tmp_path, caplog, name):
    caplog.set_level(logging.INFO, logger="harness")
    other = tmp_path / "model"
    shutil.copytree(chat_models["a"] / "model", other)
    if name.endswith(".json"):
        content = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps({**content, "something": "else"}))
    else:
        (other / name).write_text((other / name).read_text() + " ")
    first = engines.open(SETTINGS, chat_models["a"] / "model", {})
    assert engines.open(SETTINGS, other, {}) is not first
    assert caplog.messages == [f"starting a fresh engine: {name} of {other} differs from the running model's"]


def test_who_wrote_a_config_does_not_matter(engines, chat_models, tmp_path):
    other = tmp_path / "model"
    shutil.copytree(chat_models["a"] / "model", other)
    content = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**content, "transformers_version": "0"}))
    assert engines.open(SETTINGS, chat_models["a"] / "model", {}) is engines.open(SETTINGS, other, {})


def test_other_settings_get_a_fresh_engine(engines, chat_models):
    first = engines.open(SETTINGS, chat_models["a"] / "model", {})
    other = engines.open(EngineSettings(name="hf", max_length=128), chat_models["a"] / "model", {})
    assert other is not first
    assert other.max_length == 128


def test_a_folder_without_a_model_is_named(engines, tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        engines.open(SETTINGS, tmp_path, {})


def test_an_engine_that_could_not_take_a_model_is_not_used_again(engines, chat_models, tmp_path):
    broken = tmp_path / "model"
    shutil.copytree(chat_models["a"] / "model", broken, ignore=shutil.ignore_patterns("*.safetensors"))
    first = engines.open(SETTINGS, chat_models["a"] / "model", {})
    with pytest.raises(OSError, match=r"model\.safetensors"):
        engines.open(SETTINGS, broken, {})
    assert engines.open(SETTINGS, chat_models["a"] / "model", {}) is not first


OWN_CODE = """\
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(chat_models, tmp_path, monkeypatch):
    """The model `a` as one that only code of its own can read."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = shutil.copytree(chat_models["a"] / "model", tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    config.update(model_type="own", architectures=["OwnForCausalLM"], auto_map=classes)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_code_of_the_model_runs_where_it_was_linked(engines, chat_models, own_code, greedy):
    (own_code / "own.py").write_text(OWN_CODE)
    expected = answers(engines.open(SETTINGS, chat_models["a"] / "model", {}), greedy)
    engine = engines.open(SETTINGS, own_code, {})
    assert type(engine._model).__name__ == "OwnForCausalLM"
    assert answers(engine, greedy) == expected


def test_nobody_is_asked_about_code_that_was_not_linked(engines, own_code, monkeypatch):
    """The question would be read from standard input, where a worker's jobs come from."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with pytest.raises(ValueError, match="trust_remote_code"):
        engines.open(SETTINGS, own_code, {})


def test_weights_that_are_missing_are_not_made_up(engines, chat_models, tmp_path):
    folder = shutil.copytree(chat_models["a"] / "model", tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack lm_head\.weight"):
        engines.open(SETTINGS, folder, {})
