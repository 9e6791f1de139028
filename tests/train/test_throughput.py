"""Useful work counted from formulas written out here, and speed from a clock that the tests hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from harness.peaks import datasheet_peak
from harness.train.throughput import Meter, Speed, Work, peak_tflops, speed_note

WIDTH, INNER, LAYERS, HEADS, KV, VOCABULARY = 32, 48, 3, 4, 2, 300


def network(model_type="llama", **more):
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
    }
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **more))


def layer_weights():
    return 2 * WIDTH * WIDTH + 2 * WIDTH * WIDTH * KV // HEADS + 3 * WIDTH * INNER


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_takes_six_flops_a_weight_and_its_attention(tied):
    work = Work.of(network(tie_word_embeddings=tied))
    lengths, scored = np.array([7, 50]), np.array([3, 20])
    wanted = [
        6 * LAYERS * layer_weights() * n + 6 * WIDTH * VOCABULARY * s + 12 * LAYERS * WIDTH * n * (n + 1) / 2
        for n, s in zip(lengths, scored, strict=True)
    ]
    assert work.examples(lengths, scored).tolist() == wanted


def test_it_is_what_torch_counts_in_the_same_network():
    """Torch counts whole squares of attention, and a head for every token."""
    model, n = network(attn_implementation="eager"), 40
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, n, dtype=torch.long), use_cache=False).logits.sum().backward()
    ours = Work.of(model).examples(np.array([n]), np.array([n]))[0]
    half = 12 * LAYERS * WIDTH * (n * n - n * (n + 1) / 2)
    rotary = counter.get_total_flops() - ours - half
    first_input = 2 * n * WIDTH * (WIDTH + 2 * WIDTH * KV // HEADS)  # embeddings are inputs, and have gradients
    assert abs(rotary) <= first_input


def test_frozen_weights_have_no_gradients_to_compute_and_adapters_count_nothing():
    from peft import LoraConfig, get_peft_model

    whole = Work.of(network())
    adapted = Work.of(get_peft_model(network(), LoraConfig(r=4, target_modules="all-linear")))
    assert adapted.token == pytest.approx(whole.token * 4 / 6)
    assert adapted.pair == whole.pair


def test_a_window_bounds_what_a_token_looks_at():
    work = Work.of(network("mistral", sliding_window=8))
    wide = Work.of(network("mistral", sliding_window=None))
    short, long = np.array([8]), np.array([30])
    assert work.examples(short, short) == wide.examples(short, short)
    looked_at = sum(min(position, 8) for position in range(1, 31))
    saved = 12 * LAYERS * WIDTH * (30 * 31 / 2 - looked_at)
    assert wide.examples(long, long) - work.examples(long, long) == pytest.approx(saved)


def test_of_a_mixture_the_experts_that_a_token_passes_count():
    few, all_ = (
        Work.of(network("mixtral", num_local_experts=8, num_experts_per_tok=active)).token for active in (2, 8)
    )
    assert all_ - few == pytest.approx(6 * LAYERS * 6 * 3 * WIDTH * INNER)


def test_a_network_without_attention_has_its_matrices_alone():
    config = AutoConfig.for_model("mamba", hidden_size=WIDTH, num_hidden_layers=LAYERS, vocab_size=VOCABULARY)
    work = Work.known(AutoModelForCausalLM.from_config(config))
    assert work.token > 0
    assert work.pair == ()


@pytest.mark.parametrize("model_type", ["gemma4_text", "aria_text"])
def test_the_work_of_a_network_that_is_described_in_other_words_is_not_known(model_type):
    with torch.device("meta"):
        assert Work.known(network(model_type)) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.4),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA A10G", None),
        ("NVIDIA L40S", 362.1),
        ("Tesla T4", None),
    ],
)
def test_the_peak_of_a_known_gpu_is_its_datasheets(name, peak):
    assert datasheet_peak(name) == peak


def test_a_cpu_has_the_peak_that_is_stated_or_none():
    assert peak_tflops(torch.device("cpu"), None) is None
    assert peak_tflops(torch.device("cpu"), 0.2) == 0.2


def test_the_speed_is_that_of_the_last_seconds_and_the_rest_is_told_from_it(monkeypatch):
    now = 0.0
    monkeypatch.setattr("harness.train.throughput.time.monotonic", lambda: now)
    meter = Meter(np.array([100, 100, 100, 200, 500]), np.array([1e3, 1e3, 1e3, 2e3, 5e3]), peak=1e3)
    meter.start(1)
    now = 30.0  # a slow first step: the machine warms up
    assert meter.step(2) == Speed(100 / 30, 1e3 / 30 / 1e3, 800 / (100 / 30))
    now = 35.0
    assert meter.step(3).tokens_per_second == 200 / 35
    now = 52.0
    assert meter.step(4) == Speed(300 / 22, 3e3 / 22 / 1e3, 500 / (300 / 22))
    assert meter.tokens(4) == 500


def test_without_a_peak_there_is_no_mfu():
    meter = Meter(np.array([10]), np.array([1e3]), peak=None)
    meter.start(0)
    assert meter.step(1).mfu is None


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (Speed(12_345.0, 0.412, 200.0), "loss 1.234, 12.3k tok/s, 41 % MFU"),
        (Speed(412.3, None, 200.0), "loss 1.234, 412 tok/s"),
    ],
)
def test_what_is_said_beside_the_bar(speed, said):
    assert speed_note(1.2341, speed) == said
