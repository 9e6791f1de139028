"""Estimated memory beside the measured peak: trains a few steps of models of several sizes, a process for each.

python benchmarks/estimates.py            # all of them, some minutes
python benchmarks/estimates.py 12M 40M    # those whose names begin so
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MIB = 2**20
STEP_TOKENS = {"batch_size": 8, "max_length": 2048}
WORDS, EXAMPLES = 60, 24


def sizes(hidden: int, layers: int, inner: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }


GPT = {
    "n_embd": 384,
    "n_layer": 8,
    "n_head": 6,
    "n_positions": 2048,
    "resid_pdrop": 0,
    "embd_pdrop": 0,
    "attn_pdrop": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any], int]] = {
    "1M llama": ("llama", sizes(128, 4, 352, 4, 4), 512),
    "12M llama": ("llama", sizes(256, 8, 704, 4, 2), 8192),
    "20M gpt2": ("gpt2", GPT, 16000),
    "25M qwen3": ("qwen3", {**sizes(320, 8, 960, 5, 5), "head_dim": 64}, 16000),
    "40M llama": ("llama", sizes(384, 10, 1024, 6, 2), 32000),
    "125M llama": ("llama", sizes(768, 12, 2048, 12, 4), 32000),
}
WAYS: dict[str, dict[str, Any]] = {
    "2,048 tokens": {},
    "1,024 tokens": {"micro_tokens": 1024, "train": {"batch_size": 4}},
    "bfloat16": {"train": {"dtype": "bfloat16"}},
    "checkpointing": {"execution": {"gradient_checkpointing": True}},
    "LoRA": {"train": {"lora": {"rank": 16}}},
}


def main() -> None:
    wanted = tuple(sys.argv[1:])
    print(f"| {'model':<11} | {'trained with':<13} | estimate | measured | ratio |\n|---|---|---|---|---|")
    for model in MODELS:
        if wanted and not model.startswith(wanted):
            continue
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, __file__, "--one", model, way], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            estimate, peak = json.loads(done.stdout.splitlines()[-1])
            shown = f"{estimate / MIB:4.0f} MiB | {peak / MIB:4.0f} MiB | {estimate / peak:.2f}"
            print(f"| {model:<11} | {way:<13} | {shown} |", flush=True)


def one(model: str, way: str) -> None:
    """Train, and print the estimate and the peak of this process in bytes."""
    import numpy as np
    from transformers import AutoConfig, AutoModelForCausalLM

    from harness.api import DataSource, Example, Generated, Message, Part, token_loss
    from harness.context import Context
    from harness.estimate.fit import Case, room
    from harness.estimate.model import known
    from harness.execution import Execution
    from harness.jobs import DataDeclaration, InitModel, MixtureItem, ModelSettings, PrepareModel, Train, TrainSettings
    from harness.train.init import prepare_model
    from harness.train.job import train

    def conversations() -> Any:
        draw = np.random.default_rng(0)
        for i in range(EXAMPLES):
            length = int(WORDS * draw.uniform(0.5, 1.5))
            text = " ".join(f"w{number}" for number in draw.integers(1000, size=length))
            yield Example(str(i), (Message("user", text), Message("assistant", text)))

    architecture, config, rows = MODELS[model]
    changes = WAYS[way]
    sources = {"words": DataSource(Generated(conversations, n=EXAMPLES, recipe={}))}
    item = MixtureItem(data=DataDeclaration(name="words", source={}))
    with tempfile.TemporaryDirectory() as place:
        start, folder = Path(place, "start"), Path(place, "stage")
        init = InitModel(architecture=architecture, config=config)
        for made in (start, folder):
            made.mkdir()
        runtime = {"threads": 1, "micro_tokens": changes.get("micro_tokens", 2048), "checkpoint_seconds": 1e9}
        declared = PrepareModel(model=ModelSettings(init=init), data=(item,))
        prepare_model(declared, sources, Context(start, {}, runtime, lambda _: None))
        full = AutoConfig.from_pretrained(start / "model")
        full.vocab_size = rows
        AutoModelForCausalLM.from_config(full).save_pretrained(start / "model")
        settings = TrainSettings(**{**STEP_TOKENS, "epochs": 1, **changes.get("train", {})})
        execution = Execution(**changes.get("execution", {}))
        stage = Train(mixture=(item,), settings=settings, loss={})
        loss = token_loss(lambda batch: batch.is_part(Part.PROMPT, Part.RESPONSE))
        context = Context(folder, {"start": start}, runtime, lambda _: None, execution)
        done = train(stage, sources, loss, context)
        found, result = known(start / "model"), done["result"]
        mean = result["tokens"] / result["examples"]
        case = Case(
            found.shape,
            found.parameters,
            settings,
            execution,
            runtime["micro_tokens"],
            step_tokens=mean * settings.batch_size,
            longest=round(1.5 * mean),
        )
        need = case.memory(room(execution, 1))
        print(json.dumps([need.device + need.host, done["measured"]["peak_memory_bytes"]]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:4])
    else:
        main()
