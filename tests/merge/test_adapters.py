"""Adapters of peft, merged into their base and merged apart, against peft and plain torch."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.api import Average
from harness.merge.adapters import Adapter
from harness.merge.stream import Member, Merging

pytestmark = pytest.mark.timeout(120)
LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A base, two adapters on it with random A and B, and the whole models that peft makes of them."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    place = tmp_path_factory.mktemp("adapted")
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(place / "base")
    for name, rank in (("a", 4), ("b", 4), ("wide", 8)):
        lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
        tuned = get_peft_model(LlamaForCausalLM.from_pretrained(place / "base"), lora)
        with torch.no_grad():
            for parameter in (p for p in tuned.parameters() if p.requires_grad):
                parameter.normal_(std=0.3)
        tuned.save_pretrained(place / name / "adapter")
        whole = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(place / "base"), place / name / "adapter")
        whole.merge_and_unload().save_pretrained(place / name / "model")
    return place


@pytest.fixture
def average(adapted, tmp_path, read_model):
    def average(adapters, *members, base="base"):
        (tmp_path / "out").mkdir()
        merging = Merging(Average(tuple(m.name for m in members), adapters=adapters), members, adapted / base)
        merging.write(tmp_path / "out")
        return read_model(tmp_path / "out")

    return average


def whole(adapted, name):
    return Member(name, adapted / name / "model", adapted / name / "adapter")


def loose(adapted, name):
    return Member(name, None, adapted / name / "adapter")


def test_adapters_on_their_base_are_the_whole_models_of_peft(adapted, average, read_model):
    one, two = (read_model(adapted / name / "model") for name in "ab")
    found = average("merged", loose(adapted, "a"), loose(adapted, "b"))
    assert found.keys() == one.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (one[name] + two[name]) / 2, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [whole, loose])
def test_apart_the_product_of_the_means_is_added(adapted, average, read_model, kind):
    found = average("apart", kind(adapted, "a"), kind(adapted, "b"))
    base = read_model(adapted / "base")
    one, two = (load_file(adapted / name / "adapter" / "adapter_model.safetensors") for name in "ab")
    a, b = ((one[f"base_model.model.{LAYER}.lora_{x}.weight"] + two[f"base_model.model.{LAYER}.lora_{x}.weight"]) / 2
            for x in "AB")  # fmt: skip
    torch.testing.assert_close(found[f"{LAYER}.weight"], base[f"{LAYER}.weight"] + 2 * b @ a, atol=1e-6, rtol=0)
    mean = sum(read_model(adapted / name / "model")[f"{LAYER}.weight"] for name in "ab") / 2
    assert not torch.allclose(found[f"{LAYER}.weight"], mean, atol=1e-3)
    untouched = "model.embed_tokens.weight"
    assert torch.equal(found[untouched], base[untouched])


def test_apart_a_model_with_itself_is_itself(adapted, average, read_model):
    found = average("apart", whole(adapted, "a"), Member("again", None, adapted / "a" / "adapter"))
    for name, tensor in read_model(adapted / "a" / "model").items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)


def test_adapters_of_other_ranks_are_merged_whole_but_not_apart(adapted, average, refused, tmp_path):
    assert refused(average, "apart", whole(adapted, "a"), whole(adapted, "wide")) == (
        "the adapters of a and wide differ in rank (merge whole weights instead of adapters apart)"
    )
    (tmp_path / "out").rmdir()
    average("merged", loose(adapted, "a"), loose(adapted, "wide"))


def test_models_without_adapters_are_not_merged_apart(adapted, average, refused):
    assert refused(average, "apart", whole(adapted, "a"), Member("base", adapted / "base")) == (
        "base brings no adapter to merge apart (merge whole weights)"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "is no plain LoRA: use_dora"),
        ({"peft_type": "IA3"}, "is no plain LoRA: IA3"),
        ({"rank_pattern": {"q_proj": 8}}, "is no plain LoRA: rank_pattern"),
        ({"init_lora_weights": "pissa_niter_4"}, "is no plain LoRA: init_lora_weights=pissa_niter_4"),
        ({"init_lora_weights": "olora"}, "is no plain LoRA: init_lora_weights=olora"),
    ],
)
def test_adapters_that_are_more_than_a_product_are_refused(adapted, tmp_path, refused, change, said):
    folder = tmp_path / "adapter"
    folder.mkdir()
    source = adapted / "a" / "adapter"
    (folder / "adapter_model.safetensors").write_bytes((source / "adapter_model.safetensors").read_bytes())
    config = json.loads((source / "adapter_config.json").read_text()) | change
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert said in refused(Adapter.open, folder)


@pytest.mark.parametrize("lost", ["A", "B"])
def test_a_layer_with_half_an_adapter_is_refused(adapted, tmp_path, refused, lost):
    folder, source = tmp_path / "adapter", adapted / "a" / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    gone = f"base_model.model.{LAYER}.lora_{lost}.weight"
    kept = {n: t for n, t in load_file(source / "adapter_model.safetensors").items() if n != gone}
    save_file(kept, folder / "adapter_model.safetensors")
    assert refused(Adapter.open, folder) == (
        f"the adapter in {folder} is not whole: {gone} is missing (save it again with peft)"
    )


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal"])
def test_an_adapter_that_leaves_the_base_alone_is_plain(adapted, tmp_path, init):
    source = adapted / "a" / "adapter"
    config = json.loads((source / "adapter_config.json").read_text()) | {"init_lora_weights": init}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes((source / "adapter_model.safetensors").read_bytes())
    assert Adapter.open(tmp_path).weights == Adapter.open(source).weights


@pytest.mark.parametrize("differing", ["size", "orientation"])
def test_apart_adapters_are_of_one_form(adapted, average, refused, tmp_path, differing):
    source = adapted / "b" / "adapter"
    tensors = load_file(source / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    if differing == "size":
        name = f"base_model.model.{LAYER}.lora_A.weight"
        tensors[name] = tensors[name][:, :-1].contiguous()
    else:
        config["fan_in_fan_out"] = True
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    assert refused(average, "apart", loose(adapted, "a"), Member("other", None, tmp_path)) == (
        f"the adapters of a and other differ in {differing} (merge whole weights instead of adapters apart)"
    )


@pytest.fixture
def rough(adapted, tmp_path, read_model, write_model):
    """The base in bfloat16: its folder and its tensors."""
    tensors = {name: tensor.bfloat16() for name, tensor in read_model(adapted / "base").items()}
    return write_model(tmp_path / "base", tensors), tensors


@pytest.mark.parametrize(("kind", "dtype"), [(whole, torch.float32), (loose, torch.bfloat16)])
def test_apart_the_first_expert_gives_the_dtype(adapted, average, rough, kind, dtype):
    folder, base = rough
    found = average("apart", kind(adapted, "a"), kind(adapted, "b"), base=folder)
    assert {tensor.dtype for tensor in found.values()} == {dtype}
    one, two = (load_file(adapted / name / "adapter" / "adapter_model.safetensors") for name in "ab")
    a, b = ((one[f"base_model.model.{LAYER}.lora_{x}.weight"] + two[f"base_model.model.{LAYER}.lora_{x}.weight"]) / 2
            for x in "AB")  # fmt: skip
    exact = base[f"{LAYER}.weight"].double() + 2 * b.double() @ a.double()
    bound = 1e-6 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(found[f"{LAYER}.weight"].double(), exact, atol=bound, rtol=0)
    assert torch.equal(found["model.embed_tokens.weight"], base["model.embed_tokens.weight"].to(dtype))


def test_an_adapter_of_another_model_is_refused(adapted, tmp_path, refused, write_model, tensors_of):
    write_model(tmp_path / "other", tensors_of(0))
    merging = Merging(Average(("a",)), (loose(adapted, "a"),), tmp_path / "other")
    (tmp_path / "out").mkdir()
    assert "which the base lacks (name the base it was put on)" in refused(merging.write, tmp_path / "out")
