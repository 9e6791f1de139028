"""A model as a folder of files: safetensors weights, a config, and what travels with them (tokenizer, template)."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UserError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model, sorted; UserError where there are none."""
    found = tuple(sorted(folder.glob("*.safetensors")))
    if found:
        return found
    if any(path for pattern in PICKLES for path in folder.glob(pattern)):
        raise UserError(
            f"the weights in {folder} are pickled, and loading those can run code",
            "convert them with model.save_pretrained(..., safe_serialization=True), or use a revision with safetensors",
        )
    raise UserError(f"no safetensors weights in {folder}", "name a folder that holds a model")


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
