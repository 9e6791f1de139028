"""A batch that ended a training, on disk: as tensors for programs, and as lines that people can read.

why.json            what happened: problem, step, loss, gradient norm, learning rate
rank-N.jsonl        one line an example of what rank N held: dataset, id, text, tokens with parts, weights and losses
rank-N.safetensors  the same as flat tensors; example i holds the tokens `offsets[i]:offsets[i + 1]`
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api import Part
from harness.errors import UserError
from harness.files import write_whole

FOLDER = "bad_batch"
WHY = "why.json"


@dataclass(frozen=True, eq=False)
class Held:
    """One example of the batch. All arrays [tokens]."""

    dataset: str
    id: str
    micro_batch: int
    ids: npt.NDArray[np.int64]
    parts: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32] | None
    """Of each token as a target; None where they were not computed."""


def write(folder: Path, rank: int, examples: Sequence[Held], decode: Callable[[Sequence[int]], str]) -> None:
    """Write what one rank held; `decode` makes text of tokens."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_line(example, decode), ensure_ascii=False) + "\n" for example in examples)
    write_whole(folder / f"rank-{rank}.jsonl", "".join(lines))
    tensors = {
        "input_ids": np.concatenate([example.ids for example in examples]),
        "parts": np.concatenate([example.parts for example in examples]),
        "weights": np.concatenate([example.weights for example in examples]),
        "offsets": np.cumsum([0, *(len(example.ids) for example in examples)], dtype=np.int64),
        "micro_batch": np.array([example.micro_batch for example in examples], dtype=np.int64),
    }
    if all(example.losses is not None for example in examples):
        tensors["losses"] = np.concatenate([example.losses for example in examples if example.losses is not None])
    write_whole(folder / f"rank-{rank}.safetensors", save(tensors))


def write_why(folder: Path, why: Mapping[str, Any]) -> None:
    """Write what happened; numbers that JSON does not know as texts."""
    told = {name: number(value) if isinstance(value, float) else value for name, value in why.items()}
    write_whole(folder / WHY, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What happened, and the examples as their lines tell them, with the rank that held them.

    Raises UserError for a folder that holds no such batch.
    """
    if not (folder / WHY).is_file():
        raise UserError(f"{folder} holds no batch that ended a training", "the error of that training names the folder")
    why: dict[str, Any] = json.loads((folder / WHY).read_text(encoding="utf-8"))
    examples = []
    for path in sorted(folder.glob("rank-*.jsonl")):
        rank = int(path.stem.removeprefix("rank-"))
        with path.open(encoding="utf-8") as lines:
            examples += [{"rank": rank, **json.loads(line)} for line in lines]
    return why, examples


def number(value: float) -> float | str:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else str(value)


def _line(example: Held, decode: Callable[[Sequence[int]], str]) -> dict[str, Any]:
    ids = example.ids.tolist()
    names = [Part(part).name.lower() for part in example.parts.tolist()]
    losses = None if example.losses is None else example.losses.tolist()
    return {
        "dataset": example.dataset,
        "id": example.id,
        "micro_batch": example.micro_batch,
        "tokens": len(ids),
        "scored_tokens": int(np.count_nonzero(example.weights)),
        "not_finite": [] if losses is None else [i for i, loss in enumerate(losses) if not math.isfinite(loss)],
        "text": decode(ids),
        "stretches": [
            [name, decode([ids[i] for i in run])] for name, run in groupby(range(len(ids)), key=names.__getitem__)
        ],
        "pieces": [decode([id_]) for id_ in ids],
        "ids": ids,
        "parts": names,
        "weights": [round(weight, 6) for weight in example.weights.tolist()],
        "losses": None if losses is None else [number(round(loss, 6)) for loss in losses],
    }
