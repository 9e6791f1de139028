from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from harness.errors import UserError
from harness.train import attention
from harness.train.attention import ATTENTION, Segments, segment_attention

CPU = torch.device("cpu")


def by_hand(query, key, value, lengths, window=None):
    """Softmax attention written out, one segment at a time."""
    outputs = []
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    for q, k, v in zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True):
        distance = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])[None]
        seen = (distance >= 0) & (distance < (window or 10**6))
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf)
        outputs.append(scores.softmax(-1) @ v)
    return torch.cat(outputs, 2).transpose(1, 2)


@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [30, 12, 3, 1], [1, 40, 2, 90, 70, 200, 64], [130, 66, 65, 3]])
@pytest.mark.parametrize("window", [None, 6])
def test_every_segment_attends_to_itself_alone(lengths, window):
    torch.manual_seed(0)
    query = torch.randn(1, 4, sum(lengths), 8, requires_grad=True)
    key, value = (torch.randn(1, 2, sum(lengths), 8, requires_grad=True) for _ in range(2))
    found, _ = segment_attention(
        torch.nn.Identity(), query, key, value, None, segments=Segments.of(lengths, CPU), sliding_window=window
    )
    expected = by_hand(query, key, value, lengths, window)
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=0)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad(found, [query, key, value], direction)
    wanted = torch.autograd.grad(expected, [query, key, value], direction)
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=3e-6, rtol=0)


def test_few_kernel_calls_serve_many_short_segments():
    buckets = Segments.of([60, 41, 40, 12, 3, 2], CPU).buckets
    assert [(bucket.count, bucket.length) for bucket in buckets] == [(6, 60)]
    buckets = Segments.of([900, 500, 200, 60, 3], CPU).buckets
    assert [(bucket.count, bucket.length) for bucket in buckets] == [(2, 900), (1, 200), (2, 60)]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        ("llama", {}),
        ("llama", {"num_key_value_heads": 1}),
        ("mistral", {"num_key_value_heads": 1, "sliding_window": 3}),
    ],
)
def test_a_neighbour_changes_nothing(use_cache, architecture, more):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(architecture, vocab_size=50, **sizes, **more)
    network = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION).eval()
    lengths = [9, 6, 4]
    position_ids = torch.cat([torch.arange(n) for n in lengths])[None]
    ids = torch.randint(50, (1, 19))
    poisoned = ids.clone()
    poisoned[:, :9] = (poisoned[:, :9] + 7) % 50
    segments = Segments.of(lengths, CPU)

    def logits(row):
        with torch.no_grad():
            return network(input_ids=row, position_ids=position_ids, segments=segments, use_cache=use_cache).logits

    clean, other = logits(ids), logits(poisoned)
    assert torch.equal(clean[:, 9:], other[:, 9:])
    assert not torch.equal(clean[:, :9], other[:, :9])


def test_a_row_without_segments_is_refused():
    query = torch.randn(1, 2, 5, 8)
    with pytest.raises(UserError, match="does not pass packed segments"):
        segment_attention(torch.nn.Identity(), query, query, query, None)


def test_soft_capping_is_refused_by_name():
    query = torch.randn(1, 2, 5, 8)
    with pytest.raises(UserError, match="softcap"):
        segment_attention(torch.nn.Identity(), query, query, query, None, segments=Segments.of([5], CPU), softcap=50.0)


def test_under_autocast_the_kernel_gets_its_dtype(monkeypatch):
    """Rotary embeddings leave queries and keys in float32, beside values in bfloat16."""
    taken = []
    original = attention._bucketed
    monkeypatch.setattr(attention, "_bucketed", lambda *rows: taken.extend(rows[:3]) or original(*rows))
    query, key = torch.randn(2, 1, 2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        segment_attention(torch.nn.Identity(), query, key, key.bfloat16(), None, segments=Segments.of([5], CPU))
    assert [row.dtype for row in taken] == [torch.bfloat16] * 3
