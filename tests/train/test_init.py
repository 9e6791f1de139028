from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.errors import Failure, UserError
from harness.jobs import ModelSettings, PrepareModel
from harness.train.init import prepare_model


@pytest.fixture
def link(make, tmp_path):
    """Prepares an existing model: the outcome and the job's folder."""

    def run(**model):
        folder = tmp_path / "linked"
        return prepare_model(PrepareModel(model=ModelSettings(**model)), {}, make.context(folder)), folder

    return run


@pytest.fixture
def copy(base, tmp_path):
    """A copy of the tiny model's folder that a test may harm."""
    return shutil.copytree(base / "model", tmp_path / "copy")


def test_equal_seeds_make_equal_bytes_and_others_do_not(make, base, tmp_path):
    outcome = make.prepare(tmp_path / "again")
    for path in sorted((base / "model").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / "model" / path.name).read_bytes(), path.name
    make.prepare(tmp_path / "other", seed=1)
    assert not torch.equal(*(make.weights(f)["lm_head.weight"] for f in (base, tmp_path / "other")))
    assert outcome["result"]["vocabulary"] == 300


def test_the_model_is_complete(base):
    tokenizer = AutoTokenizer.from_pretrained(base / "model")
    network = AutoModelForCausalLM.from_pretrained(base / "model")
    assert network.config.vocab_size == len(tokenizer) == 300
    assert network.generation_config.eos_token_id == network.config.eos_token_id == tokenizer.eos_token_id
    assert network.config.pad_token_id == tokenizer.pad_token_id
    assert (base / "model" / "chat_template.jinja").read_text() == tokenizer.chat_template


def test_the_global_random_state_is_left_alone(make, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make.prepare(tmp_path / "model")
    assert torch.equal(torch.rand(1), expected)


def test_a_wrong_configuration_is_refused(make, tmp_path):
    with pytest.raises(UserError, match="no 'lama' model"):
        make.prepare(tmp_path / "model", architecture="lama")


def test_a_folder_is_linked_and_takes_another_template(link, base):
    outcome, folder = link(id=str(base / "model"), chat_template="chatml")
    assert (folder / "model" / "model.safetensors").resolve() == base / "model" / "model.safetensors"
    assert "im_start" in (folder / "model" / "chat_template.jinja").read_text()
    assert "im_start" not in (base / "model" / "chat_template.jinja").read_text()
    assert outcome["result"]["parameters"] == sum(
        p.numel() for p in AutoModelForCausalLM.from_pretrained(folder / "model").parameters()
    )


def test_a_hub_model_says_which_commit_it_was(link, copy, tmp_path, monkeypatch):
    commit, cached = "c0ffee" + "0" * 34, tmp_path / "hub" / "models--org--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(copy, cached / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome, folder = link(id="org/tiny")
    assert outcome["result"]["commit"] == commit
    assert (folder / "model" / "model.safetensors").resolve().parent.name == commit


def test_weights_that_a_model_holds_twice_are_taken_once(link, copy):
    shutil.copyfile(copy / "model.safetensors", copy / "consolidated.safetensors")
    once = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(copy).parameters())
    outcome, folder = link(id=str(copy))
    assert outcome["result"]["parameters"] == once
    AutoModelForCausalLM.from_pretrained(copy).save_pretrained(copy, max_shard_size="4KB")
    (copy / "model.safetensors").unlink(missing_ok=True)
    outcome, folder = link(id=str(copy))
    assert outcome["result"]["parameters"] == once
    assert not (folder / "model" / "consolidated.safetensors").exists()
    assert len(list((folder / "model").glob("model-*.safetensors"))) > 1


def test_a_shard_that_is_missing_is_named(link, copy):
    AutoModelForCausalLM.from_pretrained(copy).save_pretrained(copy, max_shard_size="4KB")
    (copy / "model.safetensors").unlink(missing_ok=True)
    first = min(copy.glob("model-*.safetensors"))
    first.unlink()
    with pytest.raises(UserError, match=f"{first.name} is missing"):
        link(id=str(copy))


def test_pickled_weights_are_refused(link, copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(UserError, match="pickled"):
        link(id=str(copy))


def test_a_folder_without_weights_is_refused(link, copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no safetensors weights"):
        link(id=str(copy))


def test_a_model_without_a_template_is_refused_with_the_remedy(link, copy):
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"no chat template .*--set model.chat_template=tulu"):
        link(id=str(copy))


def test_code_of_the_model_is_linked_only_where_it_is_trusted(link, copy):
    (copy / "modeling_own.py").write_text("")
    _, folder = link(id=str(copy))
    assert not (folder / "model" / "modeling_own.py").exists()
    _, folder = link(id=str(copy), trust_remote_code=True)
    assert (folder / "model" / "modeling_own.py").exists()


def test_code_that_is_needed_and_not_trusted_is_named(link, copy):
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings.update(auto_map={"AutoTokenizer": ["own.Own", None]}, tokenizer_class="Own")
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    (copy / "own.py").write_text("")
    with pytest.raises(UserError, match="trust_remote_code=true"):
        link(id=str(copy))


def test_an_architecture_that_is_not_known_is_refused_before_anything_else(link, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(UserError, match="unheard-of"):
        link(id=str(copy))


def test_a_hub_model_that_is_not_here_is_one_line(link, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Failure, match=r"hub cannot be reached.*nobody/nothing"):
        link(id="nobody/nothing")


def test_what_is_no_id_at_all_is_refused(link):
    with pytest.raises(UserError, match="no model"):
        link(id="a/b/c")
