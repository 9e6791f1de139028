"""Numbers of parameters, held against transformers' own models, built without memory on the meta device."""

import pytest

from harness.estimate.shape import FAMILIES, parameters, shape_of, used_by_a_token

SMALL = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 101,
    "head_dim": 16,
}
GPT = {"n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 101}
CASES = [
    *((name, SMALL) for name in FAMILIES if name != "gpt2"),
    *((name, {}) for name in FAMILIES),
    ("llama", {**SMALL, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("qwen2", {**SMALL, "tie_word_embeddings": True}),
    ("qwen3", {**SMALL, "attention_bias": True}),
    ("mixtral", {**SMALL, "num_local_experts": 5, "num_experts_per_tok": 3}),
    ("gpt2", GPT),
    ("gpt2", {**GPT, "n_inner": 100}),
]


@pytest.mark.parametrize(("architecture", "config"), CASES)
def test_parameters_are_those_of_transformers(architecture, config):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoConfig.for_model(architecture, **config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made)
    expected = model.num_parameters()
    written = {"model_type": architecture, **config}
    shape = shape_of(written)
    assert parameters(shape, written) == expected
    saved = made.to_diff_dict()
    assert shape_of(saved) == shape
    assert parameters(shape_of(saved), saved) == expected


def test_a_token_passes_through_its_own_experts_alone():
    config = {"model_type": "mixtral", **SMALL, "num_local_experts": 5, "num_experts_per_tok": 5}
    shape = shape_of(config)
    total = parameters(shape, config)
    assert used_by_a_token(shape, total) == total
    sparse = shape_of({**config, "num_experts_per_tok": 2})
    assert total - used_by_a_token(sparse, total) == 3 * 3 * 3 * 48 * 80


def test_nothing_is_said_of_an_architecture_that_is_not_known():
    assert shape_of({"model_type": "mamba", "hidden_size": 64}) is None
