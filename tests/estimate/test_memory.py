"""Memory in parts whose sizes follow from arithmetic, and activations held against what autograd really saves."""

import pytest

from harness.estimate.memory import Setup, memory
from harness.estimate.shape import adapter_parameters, parameters, shape_of
from harness.jobs import LoraSettings
from harness.sharding import GATHER, Sharding

BIG = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8, "intermediate_size": 14336}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 101,
    "max_position_embeddings": 512,
}
GPT = {
    "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512, "vocab_size": 101, "resid_pdrop": 0.0,
    "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ZERO = {stage: Sharding(f"zero{stage}", stage, config={"zero_optimization": {GATHER: True}}) for stage in range(4)}


def big(**setup):
    shape = shape_of(BIG)
    n = parameters(shape, BIG)
    return n, memory(shape, n, Setup(tokens=setup.pop("tokens", 4096), device="cuda", **setup))


def test_plain_float32_holds_sixteen_bytes_a_parameter():
    n, need = big()
    assert (need.weights, need.gradients, need.optimizer) == (4 * n, 4 * n, 8 * n)


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [(1, 2, 2, 12 / 8), (2, 2, 2 / 8, 12 / 8), (3, 2 / 8, 2 / 8, 12 / 8)],
)
def test_zero_shards_what_its_stage_says(stage, weights, gradients, optimizer):
    n, need = big(sharding=ZERO[stage], dtype="bfloat16", world=8)
    assert need.weights == pytest.approx(weights * n)
    assert need.gradients == pytest.approx(gradients * n)
    assert need.optimizer == pytest.approx(optimizer * n)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zero_that_shards_nothing_holds_what_plain_training_does(dtype):
    plain, spread = (big(sharding=sharding, dtype=dtype)[1] for sharding in (None, Sharding("zero0", 0)))
    assert spread == plain


def test_what_is_offloaded_leaves_the_device():
    offload = Sharding("mine", 3, offloads_optimizer=True, offloads_parameters=True)
    n, need = big(sharding=offload, dtype="bfloat16", world=8)
    assert need.weights == need.optimizer == 0
    assert need.host == pytest.approx((2 + 12 + 4) * n / 8)
    assert need.device < big(sharding=ZERO[3], dtype="bfloat16", world=8)[1].device


def test_adapters_need_no_states_for_what_is_frozen():
    lora = LoraSettings(rank=8)
    n, need = big(lora=lora, dtype="bfloat16")
    trained = adapter_parameters(shape_of(BIG), 8)
    assert need.weights == 2 * n + 4 * trained
    assert need.optimizer == 8 * trained
    quantized = big(lora=LoraSettings(rank=8, quantize="nf4"), dtype="bfloat16")[1]
    assert quantized.weights < need.weights / 2


def test_adapters_are_counted_as_peft_makes_them():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL))
        tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
    trained = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    assert adapter_parameters(shape_of({"model_type": "llama", **SMALL}), 4) == trained


def test_fewer_tokens_and_checkpointing_need_less():
    whole, half = big(tokens=8192)[1], big(tokens=4096)[1]
    assert half.activations == pytest.approx(whole.activations / 2)
    assert big(tokens=8192, checkpointing=True)[1].activations < whole.activations / 8


CASES = [*((name, SMALL) for name in ("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo2")), ("gpt2", GPT)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("architecture", "config"), CASES)
def test_activations_are_those_that_autograd_saves(architecture, config, dtype):
    import numpy as np
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from harness.train.attention import ATTENTION
    from harness.train.loss import CausalModel, Head
    from harness.train.microbatch import MicroBatch

    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, **config), dtype=torch.float32, attn_implementation=ATTENTION
    ).train()
    lengths = (250, 200, 140, 130)
    rows = [np.full(n, 5, dtype=np.int32) for n in lengths]
    batch = MicroBatch.of(rows, [np.full(n, 2, np.uint8) for n in lengths], [np.ones(n, np.float32) for n in lengths])
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.nbytes() >= sum(lengths):
            saved[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    half = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), half:
        CausalModel(model, Head.of(model))._run(batch)
    shape = shape_of({"model_type": architecture, **config})
    setup = Setup(tokens=sum(lengths), dtype=dtype, device="cpu")
    need = memory(shape, parameters(shape, {"model_type": architecture, **config}), setup)
    copies = need.weights - 4 * parameters(shape, {"model_type": architecture, **config})
    assert need.activations + copies == pytest.approx(1.1 * (sum(saved.values()) - copies) + copies, rel=0.15)
