from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness import preflight
from harness.api import Part
from harness.data.chat import Renderer
from harness.jobs import LoraSettings, TrainSettings
from harness.train import adapters, network
from harness.train.batches import by_examples

LORA = {"rank": 4, "alpha": 8.0}
PAIRS = "adapter/adapter_model.safetensors"


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def merged(start, pairs, scale):
    """`W + scale * B A` for every weight that has a pair; differentiable."""
    weights = dict(start)
    for name, down in pairs.items():
        if "lora_A" in name:
            target = name.removeprefix("base_model.model.").replace("lora_A.", "")
            weights[target] = weights[target] + scale * pairs[name.replace("lora_A", "lora_B")] @ down
    return weights


@pytest.mark.parametrize(("quantize", "dtype"), [("none", "float32"), ("nf4", "float32"), ("nf4", "bfloat16")])
def test_a_stage_leaves_adapters_and_the_starting_model_with_them_merged(make, base, stage, quantize, dtype):
    outcome, folder = stage(lora={**LORA, "quantize": quantize}, dtype=dtype, keep=(0.5, 1.0), lr=1e-2)
    for left in (folder, folder / "kept" / "0.5"):
        pairs = load_file(left / PAIRS)
        assert len(pairs) == 2 * 7 * 2  # two layers of seven linear maps, two matrices each
        assert {tensor.dtype for tensor in pairs.values()} == {torch.float32}
        wanted = merged(make.weights(base), pairs, LORA["alpha"] / LORA["rank"])
        for name, tensor in make.weights(left).items():
            torch.testing.assert_close(tensor, wanted[name].to(tensor.dtype), msg=name)
            assert tensor.dtype is getattr(torch, dtype)
    assert {path.name for path in folder.iterdir()} > {"adapter", "kept", "metrics.jsonl", "model"}
    assert outcome["result"]["final_loss"] < outcome["result"]["first_loss"]
    # Per layer: q and o are 16x16, k and v 8x16, gate and up 24x16, down 16x24.
    assert outcome["result"]["trained_parameters"] == 2 * 4 * (2 * 32 + 2 * 24 + 3 * 40)


def test_the_model_left_behind_is_a_plain_one_and_equals_the_adapters_over_the_starting_model(base, stage):
    _, folder = stage(lora=LORA)
    ids = torch.arange(12)[None]
    beneath = AutoModelForCausalLM.from_pretrained(base / "model")
    before = beneath(input_ids=ids).logits
    after = AutoModelForCausalLM.from_pretrained(folder / "model")(input_ids=ids).logits
    adapted = PeftModel.from_pretrained(beneath, str(folder / "adapter"))
    torch.testing.assert_close(adapted(input_ids=ids).logits, after, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, after, atol=1e-2)


def test_adapters_are_trained_as_a_loop_in_plain_torch_trains_them(make, base, stage):
    targets = ("q_proj", "layers.1.mlp.down_proj")
    lora = LoraSettings(**LORA, targets=targets)
    settings = {"lr": 1e-2, "epochs": 2, "batch_size": 7, "schedule": "constant", "warmup": 0.0}
    _, folder = stage(lora=lora.model_dump(), seed=3, clip=0.0, runtime={"micro_tokens": 50}, **settings)

    plain = AutoModelForCausalLM.from_pretrained(base / "model", attn_implementation="eager").train()
    start = {name: tensor.detach() for name, tensor in plain.state_dict().items()}
    drawn = adapters.attach(network.load(base / "model"), lora, 3)
    pairs = {name.replace(".default", ""): p for name, p in drawn.named_parameters() if p.requires_grad}
    assert len(pairs) == 6  # q_proj of both layers, down_proj of one
    renderer = Renderer(AutoTokenizer.from_pretrained(base / "model"))
    rendered = [renderer.render(example) for example in make.sources["first"].location.make()]
    order = by_examples(len(rendered), len(rendered) * settings["epochs"], 3)
    optimizer = torch.optim.AdamW(pairs.values(), lr=settings["lr"], weight_decay=0.0)
    losses = []
    for at in range(0, len(order), settings["batch_size"]):
        weights = merged(start, pairs, LORA["alpha"] / LORA["rank"])
        total = mass = torch.zeros(())
        for row in (rendered[i] for i in order[at : at + settings["batch_size"]]):
            ids = torch.tensor([row.ids])
            scored = torch.tensor([float(part is Part.RESPONSE) for part in row.parts])[1:]
            logits = torch.func.functional_call(plain, weights, kwargs={"input_ids": ids}).logits
            total = total + (F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none") * scored).sum()
            mass = mass + scored.sum()
        (total / mass).backward()
        losses.append(float((total / mass).detach()))
        optimizer.step()
        optimizer.zero_grad()
    assert [line["loss"] for line in metrics(folder)] == pytest.approx(losses, abs=2e-5)
    for name, tensor in load_file(folder / PAIRS).items():
        torch.testing.assert_close(tensor, pairs[name].detach(), atol=1e-4, rtol=0, msg=name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stopped_stage_resumes_bit_for_bit_and_keeps_checkpoints_of_adapters_alone(make, stage, monkeypatch, dtype):
    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.unit == "step" and progress.done >= 8:
            raise StoppedError

    monkeypatch.setattr("harness.train.report._BETWEEN_REPORTS", 0.0)
    given = {"lora": {**LORA, "dropout": 0.2}, "loss": make.noisy, "dtype": dtype, **make.long}
    outcome, whole = stage("whole", **given)
    with pytest.raises(StoppedError):
        stage("stopped", runtime={"checkpoint_steps": 3}, progress=stop, **given)
    checkpoint = whole.parent / "stopped" / "checkpoints" / "step-000000006"
    sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
    trained = 4 * outcome["result"]["trained_parameters"]
    assert trained < sizes["adapter_model.safetensors"] < trained + 10_000
    assert 2 * trained < sizes["optimizer.pt"] < 2 * trained + 40_000
    resumed, folder = stage("stopped", **given)
    assert resumed["result"] == outcome["result"]
    scratch = {"checkpoints", "corpus", "curves"}
    for path in (p for p in whole.rglob("*") if p.is_file() and not scratch.intersection(p.parts)):
        assert (folder / path.relative_to(whole)).read_bytes() == path.read_bytes(), path


def test_equal_declarations_give_equal_adapters_and_other_seeds_do_not(stage):
    seeds = {"a": 0, "b": 0, "c": 1}
    first, second, third = (stage(name, lora=LORA, epochs=1, seed=seed)[1] for name, seed in seeds.items())
    for file in (PAIRS, "adapter/adapter_config.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    assert (first / PAIRS).read_bytes() != (third / PAIRS).read_bytes()
    config = json.loads((first / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None


def test_a_following_stage_starts_from_the_merged_model(stage):
    outcome, folder = stage("one", lora=LORA, epochs=4)
    following, second = stage("two", start=folder, lora=LORA)
    assert following["result"]["first_loss"] < outcome["result"]["first_loss"]
    whole, _ = stage("three", start=second)
    assert whole["result"]["trained_parameters"] > following["result"]["trained_parameters"]


def test_a_tied_head_stays_tied(make, stage, tmp_path):
    make.prepare(tmp_path / "tied", tie_word_embeddings=True)
    _, folder = stage(start=tmp_path / "tied", epochs=1, lora=LORA)
    assert make.weights(folder).keys() == make.weights(tmp_path / "tied").keys()
    before, after = make.weights(tmp_path / "tied"), make.weights(folder)
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


def test_transposed_linear_maps_are_merged_too(make, stage, tmp_path):
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
    make.prepare(tmp_path / "gpt2", architecture="gpt2", **sizes)
    outcome, folder = stage(start=tmp_path / "gpt2", lora=LORA, lr=1e-2)
    assert outcome["result"]["final_loss"] < outcome["result"]["first_loss"]
    ids = torch.arange(12)[None]
    beneath = AutoModelForCausalLM.from_pretrained(tmp_path / "gpt2" / "model").eval()
    after = AutoModelForCausalLM.from_pretrained(folder / "model").eval()(input_ids=ids).logits
    adapted = PeftModel.from_pretrained(beneath, str(folder / "adapter"))
    torch.testing.assert_close(adapted(input_ids=ids).logits, after, atol=1e-5, rtol=1e-5)


# --- what is held in memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantize", "dtype"), [("none", "float32"), ("none", "bfloat16"), ("nf4", "bfloat16")])
def test_adapters_are_float32_over_weights_in_the_precision_of_the_computation(base, quantize, dtype):
    settings = TrainSettings(lora=LoraSettings(quantize=quantize), dtype=dtype)
    loaded = network.load(base / "model", **adapters.storage(settings, torch.device("cpu")))
    tuned = adapters.attach(loaded, settings.lora, 0)
    held = {(p.requires_grad, p.dtype) for p in tuned.parameters()}
    beneath = {(False, getattr(torch, dtype))} | ({(False, torch.uint8)} if quantize == "nf4" else set())
    assert held == {(True, torch.float32)} | beneath
    assert adapters.causal(tuned) is loaded


def test_four_bits_are_doubly_quantised_and_take_about_four_bits(make, tmp_path):
    make.prepare(tmp_path / "wide", hidden_size=128, intermediate_size=256)
    settings = TrainSettings(lora=LoraSettings(quantize="nf4"))
    start = tmp_path / "wide" / "model"
    loaded = network.load(start, **adapters.storage(settings, torch.device("cpu")))
    layer = loaded.model.layers[0].mlp.down_proj.weight
    assert (layer.quant_state.quant_type, layer.quant_state.nested) == ("nf4", True)
    state = layer.quant_state
    held = layer.nbytes + state.absmax.nbytes
    assert held * 8 / (128 * 256) == pytest.approx(4.127, abs=0.01)  # 4 + 8/64, as in the paper's section 3
    whole = network.load(start).model.layers[0].mlp.down_proj.weight.detach()
    rounding = whole - dequantize_4bit(layer.data, state)
    assert 0.0 < float(rounding.abs().mean()) < 0.1 * float(whole.abs().mean())


def test_merging_leaves_no_trace_of_four_bits(make, base, stage):
    """Adapters that learn nothing leave the starting model bit for bit."""
    _, folder = stage(lora={**LORA, "quantize": "nf4"}, lr=1e-30, epochs=1)
    for name, tensor in make.weights(folder).items():
        assert torch.equal(tensor, make.weights(base)[name]), name


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_target_that_does_not_exist_is_refused_with_what_there_is(refused, stage):
    assert refused(stage, lora={**LORA, "targets": ["q_proj", "query"]}) == (
        "train.lora.targets: LlamaForCausalLM has no linear layer 'query' below its head "
        "(use all-linear, or names among q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)"
    )


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "proj"])
def test_the_head_and_parts_of_names_are_no_targets(refused, stage, target):
    assert f"no linear layer '{target}'" in refused(stage, lora={**LORA, "targets": [target]})


@pytest.mark.parametrize("missing", ["peft", "bitsandbytes"])
def test_a_missing_library_is_named_with_its_extra(refused, stage, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == missing else find(name))
    said = refused(stage, lora={**LORA, "quantize": "nf4"})
    assert f"needs {missing} (pip install 'instruct-harness[lora]')" in said


def test_a_penalty_on_frozen_weights_is_refused(make, refused, stage):
    penalised = replace(make.loss, penalty=lambda net, _: sum(p.square().sum() for p in net.parameters()))
    assert "penalty" in refused(stage, loss=penalised, lora=LORA)


# --- several processes ---------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("how", "quantize"),
    [
        (("train.deepspeed=zero1",), "none"),
        (("train.deepspeed=zero2", "train.gradient_checkpointing=true"), "nf4"),
        (("train.deepspeed=zero3", "train.gradient_checkpointing=true"), "none"),
    ],
)
def test_two_processes_train_adapters_as_one(make, tmp_path, how, quantize):
    lora = f"train.lora={{rank: 4, alpha: 8, quantize: {quantize}}}"
    make.launched(tmp_path / "one", lora).train(tmp_path / "alone")
    make.launched(tmp_path / "two", lora, *make.ranks_2, *how).train(tmp_path / "together")
    alone, together = metrics(tmp_path / "alone"), metrics(tmp_path / "together")
    assert [line["loss"] for line in together] == pytest.approx([line["loss"] for line in alone], abs=1e-5)
    for name, tensor in load_file(tmp_path / "together" / PAIRS).items():
        torch.testing.assert_close(tensor, load_file(tmp_path / "alone" / PAIRS)[name], atol=1e-5, rtol=0, msg=name)
    for name, tensor in make.weights(tmp_path / "together").items():
        torch.testing.assert_close(tensor, make.weights(tmp_path / "alone")[name], atol=1e-5, rtol=0, msg=name)
