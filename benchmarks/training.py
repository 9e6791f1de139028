"""Tokens per second of training: padded rows with whole logits, as commonly done, beside packed rows as done here.

    python benchmarks/training.py --threads 1

The two take turns, step by step, on the same examples and weights, so that a busy machine slows both alike. Tokens are
those of the examples; padding is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 -- the field's name for it
from transformers import AutoConfig, AutoModelForCausalLM

from harness.api import Part, token_loss
from harness.train.attention import ATTENTION
from harness.train.batches import MicroBatches, Steps
from harness.train.corpus import Corpus
from harness.train.loss import Head, Objective


@dataclass(frozen=True)
class Shape:
    """A model and the lengths of its examples, log-normal about a median."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    batch: int
    median: int
    spread: float
    longest: int


SHAPES = {
    "playground": Shape(512, 128, 352, 4, batch=64, median=40, spread=0.15, longest=80),
    "questions": Shape(8192, 256, 704, 4, batch=32, median=180, spread=0.4, longest=512),
    "mixed": Shape(8192, 256, 704, 4, batch=16, median=300, spread=0.9, longest=2048),
}


def examples(shape: Shape, steps: int) -> Corpus:
    """Random tokens; the second half of each example is scored."""
    draw = np.random.Generator(np.random.PCG64(0))
    n = shape.batch * steps
    lengths = np.clip(np.exp(draw.normal(np.log(shape.median), shape.spread, n)), 8, shape.longest).astype(np.int64)
    weights = [np.arange(length) >= length // 2 for length in lengths]
    return Corpus(
        ids=draw.integers(shape.vocabulary, size=lengths.sum()).astype(np.int32),
        parts=np.full(lengths.sum(), Part.RESPONSE, np.uint8),
        weights=np.concatenate(weights).astype(np.float32),
        offsets=np.cumsum([0, *lengths]),
        dataset=np.zeros(n, np.int32),
        names=("made",),
    )


def network(shape: Shape, attention: str, device: torch.device) -> torch.nn.Module:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        max_position_embeddings=shape.longest,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).to(device).train()


def padded(model: torch.nn.Module, rows: Corpus, shape: Shape, micro_tokens: int) -> Callable[[int], float]:
    """One step over right-padded rows, as many at a time as fit in `micro_tokens` padded slots."""
    device = next(model.parameters()).device

    def step(number: int) -> float:
        chosen = range(number * shape.batch, (number + 1) * shape.batch)
        spans = [slice(rows.offsets[i], rows.offsets[i + 1]) for i in chosen]
        length = max(span.stop - span.start for span in spans)
        ids = torch.zeros(len(spans), length, dtype=torch.long)
        weights = torch.zeros(len(spans), length)
        mask = torch.zeros(len(spans), length, dtype=torch.long)
        for row, span in enumerate(spans):
            n = span.stop - span.start
            ids[row, :n] = torch.from_numpy(rows.ids[span].astype(np.int64))
            weights[row, :n] = torch.from_numpy(rows.weights[span])
            mask[row, :n] = 1
        together = max(1, micro_tokens // length)
        mass, total = float(weights.sum()), 0.0
        for start in range(0, len(spans), together):
            part = slice(start, start + together)
            inputs, scores = ids[part].to(device), weights[part].to(device)
            logits = model(input_ids=inputs, attention_mask=mask[part].to(device), use_cache=False).logits
            losses = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), inputs[:, 1:].flatten(), reduction="none")
            loss = (losses * scores[:, 1:].flatten()).sum() / mass
            loss.backward()
            total += float(loss.detach())
        return total

    return step


def packed(model: torch.nn.Module, rows: Corpus, shape: Shape, micro_tokens: int) -> Callable[[int], float]:
    """One step over packed rows, through the harness's own loss."""
    device = next(model.parameters()).device
    steps = Steps.of(np.arange(len(rows)), rows.lengths, shape.batch, micro_tokens)
    data = MicroBatches(rows, steps, "token")
    objective = Objective(token_loss(lambda batch: batch.is_part(Part.RESPONSE)), Head.of(model))

    def step(number: int) -> float:
        span = range(number * steps.accumulation, (number + 1) * steps.accumulation)
        batches = [data[i].to(device) for i in span]
        total = 0.0
        for batch in batches:
            loss = objective(model, batch, batch.denominator)
            loss.backward()
            total += float(loss.detach())
        return total

    return step


def measure(shape: Shape, steps: int, micro_tokens: int) -> tuple[dict[str, float], float]:
    """Median tokens per second of each way, and the largest difference of their losses."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = examples(shape, steps + 1)
    models = {"padded": network(shape, "sdpa", device), "packed": network(shape, ATTENTION, device)}
    ways = {
        "padded": padded(models["padded"], rows, shape, micro_tokens),
        "packed": packed(models["packed"], rows, shape, micro_tokens),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    difference = 0.0
    for number in range(steps + 1):
        losses = {}
        for name, step in ways.items():
            optimizer = torch.optim.SGD(models[name].parameters(), lr=0.0)
            started = time.perf_counter()
            losses[name] = step(number)
            optimizer.step()
            optimizer.zero_grad()
            seconds = time.perf_counter() - started
            if number:  # the first step warms up
                tokens = rows.lengths[number * shape.batch : (number + 1) * shape.batch].sum()
                rates[name].append(float(tokens) / seconds)
        difference = max(difference, abs(losses["padded"] - losses["packed"]))
    return {name: statistics.median(values) for name, values in rates.items()}, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--micro-tokens", type=int, default=8192)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'shape':12} {'padded tok/s':>13} {'packed tok/s':>13} {'ratio':>6}  loss difference")
    for name in options.shapes:
        rates, difference = measure(SHAPES[name], options.steps, options.micro_tokens)
        ratio = rates["packed"] / rates["padded"]
        print(f"{name:12} {rates['padded']:13,.0f} {rates['packed']:13,.0f} {ratio:6.2f}  {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
