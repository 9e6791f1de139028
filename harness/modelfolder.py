"""A model as a folder of files: safetensors weights, a config, and what travels with them (tokenizer, template)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.errors import UserError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that transformers would load, sorted; some hub models hold the same weights twice.

    Raises UserError where there are none, or one of them is missing.
    """
    found = _named(folder)
    missing = [path.name for path in found if not path.exists()]
    if missing:
        raise UserError(f"the weights in {folder} are not whole: {missing[0]} is missing", "fetch the model again")
    if found:
        return found
    if any(path for pattern in PICKLES for path in folder.glob(pattern)):
        raise UserError(
            f"the weights in {folder} are pickled, and loading those can run code",
            "convert them with model.save_pretrained(..., safe_serialization=True), or use a revision with safetensors",
        )
    raise UserError(f"no safetensors weights in {folder}", "name a folder that holds a model")


def _named(folder: Path) -> tuple[Path, ...]:
    if (folder / SINGLE).exists():
        return (folder / SINGLE,)
    if (folder / INDEX).exists():
        shards = json.loads((folder / INDEX).read_text())["weight_map"].values()
        return tuple(folder / name for name in sorted(set(shards)))
    return tuple(sorted(folder.glob("*.safetensors")))


def companions(folder: Path) -> tuple[Path, ...]:
    """Everything in a model's folder but weights and config: tokenizer, chat template, generation config, own code."""
    weights = {path.name for path in folder.glob("*.safetensors")} | {CONFIG, INDEX}
    return tuple(sorted(path for path in folder.iterdir() if path.is_file() and path.name not in weights))


def copy_companions(source: Path, target: Path) -> None:
    """Copy them, links resolved."""
    for path in companions(source):
        shutil.copyfile(path, target / path.name)


def trusts_code(folder: Path) -> bool:
    """Whether the model was prepared with code of its own, which is linked only where the user declared trust."""
    return any(folder.glob("*.py"))
