"""Tokens per second of training: ours beside TRL's packed SFTTrainer and the padded Trainer loop.

    python benchmarks/train.py                  # small model, CPU or GPU, about 20 minutes on 2 idle cores
    python benchmarks/train.py --model 1.2b     # a 1.2B Llama in bf16 at 4k, with MFU; needs a GPU

Every system trains the same weights on the same examples with the same optimiser, all tokens scored, and the systems
take turns, so that a busy machine slows all alike. Tokens are those of the examples; padding is not counted. Of ours
and of TRL's packed settings that keep neighbours apart, the row length that is fastest is tried out first.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from harness.api import Part, token_loss
from harness.jobs import TrainSettings
from harness.train.arguments import arguments
from harness.train.attention import ATTENTION, kernel
from harness.train.batches import MicroBatches, Steps
from harness.train.corpus import Corpus
from harness.train.loop import StageTrainer
from harness.train.loss import Head, Objective
from harness.train.process import isolated
from harness.train.throughput import Work as UsefulWork
from harness.train.throughput import peak_tflops
from harness.train.watch import Watch


@dataclass(frozen=True)
class Lengths:
    """Log-normal example lengths in tokens, `batch` examples an optimiser step."""

    median: int
    spread: float
    shortest: int
    longest: int
    batch: int


DATA = {
    # Fitted to openai/gsm8k's train split (question and answer) under a byte-level BPE of 8,192 tokens learnt from it.
    "gsm8k": Lengths(149, 0.337, 40, 512, batch=32),
    "long-tailed": Lengths(300, 0.9, 16, 2048, batch=16),
}


@dataclass(frozen=True)
class Size:
    """A Llama with random weights."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int
    longest: int
    dtype: str = "float32"


SIZES = {
    "small": Size(256, 704, 4, 4, 8192, 2048),
    "1.2b": Size(2048, 8192, 16, 32, 128256, 4096, "bfloat16"),
}


def network(size: Size, attention: str) -> Any:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.longest,
        tie_word_embeddings=True,
        pad_token_id=0,
        use_cache=False,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).train()


def examples(lengths: Lengths, size: Size, steps: int) -> list[list[int]]:
    draw = np.random.Generator(np.random.PCG64(0))
    drawn = np.exp(draw.normal(np.log(lengths.median), lengths.spread, lengths.batch * steps))
    return [
        draw.integers(2, size.vocabulary, size=n).tolist()
        for n in np.clip(drawn, lengths.shortest, min(lengths.longest, size.longest)).astype(int)
    ]


@dataclass
class Clock(TrainerCallback):
    """Tokens and time of all steps after the first, which warms up."""

    tokens: int = 0
    seconds: float = 0.0
    _started: float = 0.0
    _running: bool = field(default=False)

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if not self._running:
            self._running, self._started, self.tokens = True, time.perf_counter(), 0
        elif state.global_step == state.max_steps:
            self.seconds = time.perf_counter() - self._started
        return control

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Work:
    """What every system is given."""

    size: Size
    rows: Sequence[Sequence[int]]
    batch: int
    steps: int
    micro_tokens: int
    folder: Path

    def arguments(self, kind: type = TrainingArguments, **more: Any) -> Any:
        return kind(
            output_dir=str(self.folder),
            max_steps=self.steps,
            learning_rate=1e-4,
            optim="adamw_torch_fused",
            bf16=self.size.dtype == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            logging_steps=10_000,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            log_level="error",
            seed=0,
            dataloader_pin_memory=False,
            **more,
        )


# --- the systems -----------------------------------------------------------------------------------------------------


def ours(work: Work, *, micro_tokens: int) -> Clock:
    lengths = np.array([len(row) for row in work.rows], dtype=np.int64)
    weights = [np.r_[np.zeros(1), np.ones(n - 1)].astype(np.float32) for n in lengths]
    rows = Corpus(
        ids=np.concatenate(work.rows).astype(np.int32),
        parts=np.full(lengths.sum(), Part.RESPONSE, np.uint8),
        weights=np.concatenate(weights),
        offsets=np.cumsum([0, *lengths]),
        dataset=np.zeros(len(lengths), np.int32),
        names=("made",),
    )
    settings = TrainSettings(lr=1e-4, batch_size=work.batch, dtype=work.size.dtype)
    steps = Steps.of(np.arange(len(rows)), rows.lengths, work.batch, micro_tokens)
    clock = Clock()
    with isolated(None):
        args = arguments(settings, steps, work.folder, 0)
        model = network(work.size, ATTENTION).to(args.device)
        objective = Objective(token_loss(lambda batch: batch.is_part(Part.RESPONSE)), Head.of(model))
        trainer = StageTrainer(
            model,
            args,
            data=MicroBatches(rows, steps, settings.loss_reduction),
            objective=objective,
            folder=work.folder,
            watch=Watch(seconds=1e9),
        )
        trainer.add_callback(clock)
        count_tokens(trainer, clock, lambda batch: batch.tokens)
        trainer.run()
    return clock


def padded(work: Work, *, micro_batch: int) -> Clock:
    """transformers' Trainer with rows padded to the longest of a micro-batch, and the model's own loss."""

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        padded_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        return {"input_ids": padded_ids, "attention_mask": mask, "labels": padded_ids.masked_fill(mask == 0, -100)}

    args = work.arguments(
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=max(1, work.batch // micro_batch)
    )
    clock = Clock()
    trainer = Trainer(
        network(work.size, "sdpa"),
        args,
        data_collator=collate,
        train_dataset=[{"input_ids": list(row)} for row in work.rows],
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    count_tokens(trainer, clock, lambda batch: int(batch["attention_mask"].sum()))
    trainer.train()
    return clock


def trl_packed(work: Work, *, length: int) -> Clock:
    """TRL's SFTTrainer, best-fit decreasing packing into rows of `length`, position ids restarting."""
    from trl import SFTConfig, SFTTrainer

    per_step = sum(map(len, work.rows)) / work.steps
    # Without flash-attention every micro-batch is given a dense mask, whose cost grows with the square of its length.
    together = max(1, work.micro_tokens // length) if kernel_is_flash(work.size) else 1
    args = work.arguments(
        SFTConfig,
        packing=True,
        packing_strategy="bfd",
        max_length=length,
        per_device_train_batch_size=max(1, min(together, round(per_step / length))),
        gradient_accumulation_steps=max(1, round(per_step / length / together)),
    )
    # Packed rows are fewer than examples: enough of them for all steps.
    data = datasets.Dataset.from_dict({"input_ids": [list(row) for row in work.rows] * 2})
    clock = Clock()
    attention = "flash_attention_2" if kernel_is_flash(work.size) else "sdpa"
    trainer = SFTTrainer(
        network(work.size, attention), args, train_dataset=data, processing_class=tokenizer(), callbacks=[clock]
    )
    trainer.remove_callback(PrinterCallback)
    count_tokens(trainer, clock, lambda batch: batch["input_ids"].numel())
    with apart(trainer):
        trainer.train()
    return clock


def kernel_is_flash(size: Size) -> bool:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return kernel(device, getattr(torch, size.dtype)) == "flash-attn"


def tokenizer() -> Any:
    """Never used on text: the trainers want one."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))  # noqa: S106 -- no password
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")  # noqa: S106


def count_tokens(trainer: Any, clock: Clock, tokens: Callable[[Any], int]) -> None:
    before = trainer.training_step

    def counted(model: Any, inputs: Any, *rest: Any) -> Any:
        clock.tokens += tokens(inputs)
        return before(model, inputs, *rest)

    trainer.training_step = counted


@contextmanager
def apart(trainer: Any) -> Iterator[None]:
    """Raise where a packed example's first loss depends on the example before it."""
    batch = next(iter(trainer.get_train_dataloader()))
    starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    if len(starts) > 1:
        start, end = starts[1], (starts[2] if len(starts) > 2 else batch["input_ids"].shape[1])  # noqa: PLR2004
        with torch.no_grad():
            whole = trainer.model(
                input_ids=batch["input_ids"][:1], position_ids=batch["position_ids"][:1], use_cache=False
            ).logits[0, start:end]
            alone = trainer.model(input_ids=batch["input_ids"][:1, start:end], use_cache=False).logits[0]
        difference = float((whole - alone).abs().max())
        if difference > 1e-2 * float(alone.abs().max()):
            raise SystemExit(f"this packed setting lets neighbours see one another (logits differ by {difference:.3f})")
    yield


# --- measuring -------------------------------------------------------------------------------------------------------


def flops_per_token(size: Size, lengths: Sequence[int]) -> float:
    """Useful FLOPs, as `harness run` counts them; every token but an example's first is scored."""
    with torch.device("meta"):
        work = UsefulWork.of(network(size, "sdpa"))
    tokens = np.array(lengths)
    return float(work.examples(tokens, tokens - 1).sum() / tokens.sum())


def systems(work: Work, *, peers: bool) -> dict[str, Callable[[Work], Clock]]:
    longest = max(map(len, work.rows))
    rows = fastest(work, {n: partial(ours, micro_tokens=n) for n in (1024, 2048, work.micro_tokens)})
    if not peers:
        return {f"ours, {rows}": partial(ours, micro_tokens=rows)}
    tried = {n: partial(trl_packed, length=n) for n in (512, 1024, 2048, 4096) if longest <= n <= max(2048, longest)}
    best = fastest(work, tried)
    return {
        f"ours, {rows}": partial(ours, micro_tokens=rows),
        f"TRL packed, {best}": tried[best],
        "padded, batch 8": partial(padded, micro_batch=8),
        "padded, batch 1": partial(padded, micro_batch=1),
    }


def fastest(work: Work, ways: Mapping[int, Callable[[Work], Clock]]) -> int:
    """Tokens of a row with which a way is fastest, tried once each."""
    return max(ways, key=lambda n: ways[n](work).rate)


def measure(size: Size, lengths: Lengths, options: argparse.Namespace) -> None:
    rows = examples(lengths, size, options.steps + 1)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(size, rows, lengths.batch, options.steps + 1, options.micro_tokens, Path(folder))
        ways = systems(work, peers=not options.alone)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                rates[name].append(way(work).rate)
    peak = peak_tflops(torch.device("cuda" if torch.cuda.is_available() else "cpu"), None)
    cost = flops_per_token(size, list(map(len, rows)))
    mine = statistics.median(next(iter(rates.values())))
    for name, values in rates.items():
        median = statistics.median(values)
        ratios = statistics.median(a / b for a, b in zip(next(iter(rates.values())), values, strict=True))
        mfu = f"{median * cost / peak / 1e10:5.1f} %" if peak else "      -"
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"  {name:18} {median:10,.0f} {spread:>20} {mine / median:8.2f} {ratios:8.2f} {mfu:>8}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="small")
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many turns")
    parser.add_argument("--steps", type=int, default=6, help="measured optimiser steps of each turn")
    parser.add_argument("--micro-tokens", type=int, default=8192)
    parser.add_argument("--alone", action="store_true", help="measure ours only")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    torch.set_num_threads(options.threads)
    size = SIZES[options.model]
    if size.dtype == "bfloat16" and not torch.cuda.is_available():
        print(f"skipped: the {options.model} model in bf16 needs a GPU, and there is none")
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {options.threads} threads"
    print(f"{options.model} Llama in {size.dtype} on {device}; {options.rounds} turns of {options.steps} steps")
    for name in options.data:
        print(f"{name}\n  {'':18} {'tok/s':>10} {'least to most':>20} {'ours is':>8} {'a turn':>8} {'MFU':>8}")
        measure(size, DATA[name], options)


if __name__ == "__main__":
    main()
