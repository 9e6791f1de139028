from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig

from harness.errors import UserError
from harness.train import layouts, network


@pytest.fixture
def described(tmp_path):
    """A prepared model's folder as far as its configuration goes."""

    def write(architecture, **config):
        small = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, **config}
        AutoConfig.for_model(architecture, **small).save_pretrained(tmp_path)
        return tmp_path

    return write


def test_an_architecture_is_checked_without_its_weights_and_at_any_depth(described):
    before = torch.get_rng_state()
    folder = described("llama", num_hidden_layers=10**6, vocab_size=10**8, pad_token_id=10**8 - 1)
    layouts.check_architecture(folder, "packed")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("depth", [1, 40])
def test_a_kind_of_layer_that_comes_late_is_checked_too(described, depth):
    kinds = ["full_attention"] * depth + ["conv"]
    folder = described("lfm2", num_hidden_layers=len(kinds), layer_types=kinds, num_key_value_heads=1)
    with pytest.raises(UserError, match=r"Lfm2.* influence each other"):
        layouts.check_architecture(folder, "packed")


def test_layers_of_several_kinds_that_can_be_packed_pass(described):
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config = {"num_hidden_layers": 6, "layer_types": kinds, "head_dim": 8, "num_key_value_heads": 1}
    layouts.check_architecture(described("gemma3_text", **config), "packed")


def test_what_is_loaded_whole_stays_so_only_in_there(base):
    from transformers.integrations.deepspeed import (
        HfDeepSpeedConfig,
        is_deepspeed_zero3_enabled,
        unset_hf_deepspeed_config,
    )

    config = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    try:
        assert is_deepspeed_zero3_enabled()
        with network.whole():
            assert not is_deepspeed_zero3_enabled()
        assert is_deepspeed_zero3_enabled()
        found = network.frozen(base / "model", torch.device("cpu"))
        assert all(parameter.numel() and not parameter.requires_grad for parameter in found.parameters())
        assert config.is_zero3()
    finally:
        unset_hf_deepspeed_config()
    with network.whole():
        assert not is_deepspeed_zero3_enabled()
    assert not is_deepspeed_zero3_enabled()
