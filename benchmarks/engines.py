"""Questions per second of the engines beside stock lm-eval, on prompts and answers of GSM8K's lengths.

    python benchmarks/engines.py --engine hf vllm stock --questions 128 --new-tokens 256

Each runs in a process of its own, on the same random model, which never ends an answer early: the worst case.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

ENGINES = ("hf", "vllm", "stock")


def make_model(
    folder: Path, hidden: int, layers: int, vocabulary: int, *, context: int = 1024, seed: int = 0, ending: float = 1.0
) -> int:
    """A random Llama with a tokenizer, which ends its answers `ending` times as readily; returns its parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from harness.data.templates import PLAIN
    from harness.data.tokenizer import train_tokenizer

    draw = random.Random(0)  # noqa: S311 -- a benchmark's words are no secrets
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(4 * vocabulary)]
    tokenizer = train_tokenizer([" ".join(draw.choices(words, k=60)) for _ in range(2000)], vocabulary, PLAIN)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 64),
            max_position_embeddings=context,
            initializer_range=0.08,
            tie_word_embeddings=ending == 1.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.lm_head.weight.data[tokenizer.eos_token_id] *= ending
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def prompts(vocabulary: int, n: int) -> list[tuple[int, ...]]:
    """Random ids, 40 to 200 tokens a prompt."""
    draw = random.Random(1)  # noqa: S311 -- as above
    return [tuple(draw.randrange(10, vocabulary) for _ in range(draw.randint(40, 200))) for _ in range(n)]


def run_engine(name: str, model_dir: Path, asked: Sequence[tuple[int, ...]], new_tokens: int) -> dict[str, float]:
    """Seconds to start, seconds to answer, tokens generated."""
    from harness.engines.pool import Engines
    from harness.engines.protocol import GenerateRequest, Sampling
    from harness.jobs import EngineSettings

    engines, started = Engines(), time.perf_counter()
    engine = engines.open(EngineSettings.model_validate({"name": name}), model_dir, {})
    ready = time.perf_counter()
    requests = [GenerateRequest(str(n), ids, Sampling(new_tokens)) for n, ids in enumerate(asked)]
    tokens = sum(len(answer.token_ids) for lot in engine.answer(deque(requests)) for _, answer in lot)
    done = time.perf_counter()
    engines.close()
    return {"start": ready - started, "seconds": done - ready, "tokens": tokens}


def run_stock(model_dir: Path, asked: Sequence[tuple[int, ...]], new_tokens: int) -> dict[str, float]:
    """lm-eval's own `hf` model, one question at a time, as it runs by default."""
    started = time.perf_counter()
    import torch
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(model_dir), device="cpu", batch_size=1, dtype="float32")
    ready, tokens = time.perf_counter(), 0
    for ids in asked:
        context = torch.tensor([ids])
        with torch.no_grad():
            out = model._model_generate(  # noqa: SLF001 -- what generate_until calls, without its tokenizing
                context, len(ids) + new_tokens, ["</s>"], attention_mask=torch.ones_like(context), do_sample=False
            )
        tokens += out.shape[1] - len(ids)
    return {"start": ready - started, "seconds": time.perf_counter() - ready, "tokens": tokens}


def main() -> None:
    """Make the model, run each engine in its own process, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        asked = prompts(options.vocabulary, options.questions)
        (name,) = options.engine
        run = run_stock if name == "stock" else lambda *rest: run_engine(name, *rest)
        print(json.dumps(run(options.model, asked, options.new_tokens)))
        return
    with tempfile.TemporaryDirectory() as folder:
        parameters = make_model(Path(folder), options.hidden, options.layers, options.vocabulary)
        print(f"{parameters:,} parameters, {options.questions} questions, up to {options.new_tokens} new tokens each")
        for name in options.engine:
            command = [sys.executable, *sys.argv, "--engine", name, "--model", folder]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            speed = found["tokens"] / found["seconds"]
            print(
                f"{name:6} start {found['start']:5.1f} s, answers {found['seconds']:6.1f} s, "
                f"{speed:7,.0f} tokens/s, {options.questions / found['seconds']:6.2f} questions/s"
            )


if __name__ == "__main__":
    main()
