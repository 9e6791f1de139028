"""Whether a running engine holds the weights that it was told to take: a swap that failed without a word is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROWS = 16
"""Rows of each matrix that are compared."""


class Stale(Exception):  # noqa: N818 - what is said of the engine
    """The engine does not hold the new weights, or cannot take them; a fresh one can."""


def stale(worker: Any, model_dir: Path) -> str | None:
    """What of the worker's model is not what the files hold; None where all that can be compared is equal.

    Compared are the first rows of every tensor that the engine keeps under its own name; it may have filled up the rows
    of embeddings to a round number. Runs in the engine's worker.
    """
    import torch
    from safetensors import safe_open

    held = dict(worker.model_runner.model.named_parameters())
    matrices = 0
    for path in sorted(model_dir.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(name)
                mine = held.get(name)
                if mine is None or not _comparable(list(mine.shape), part.get_shape()):
                    continue
                if not torch.equal(part[:ROWS].to(mine.dtype), mine[:ROWS].detach().cpu()):
                    return f"the engine kept the old {name}"
                matrices += mine.dim() > 1
    return None if matrices else "no matrix of the engine can be compared with its file"


def _comparable(held: list[int], stored: list[int]) -> bool:
    return bool(held and stored) and held[1:] == stored[1:] and held[0] >= stored[0]
