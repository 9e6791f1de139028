"""A model as a folder of files: safetensors weights, a config, and what travels with them (tokenizer, template)."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

from harness.errors import UserError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

STATE = (
    *PICKLES,
    "*.safetensors",
    "*.bin",
    "*.gguf",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.index.json",
    "trainer_state.json",
)
"""Weights in any format, their indexes, and what a training went on from: none of it is true of another model."""


def model_folder(name: str) -> Path | None:
    """The folder that a model is named by; None for a hub id.

    Raises UserError for a path that leads nowhere, and for a folder without a model.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise UserError(f"there is no model folder {name}", f"give a folder with {CONFIG}, or a hub id")
        return None
    if not (folder / CONFIG).is_file():
        raise UserError(f"{name} holds no model: {CONFIG} is missing", "give a folder that save_pretrained wrote")
    return folder


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
    """What goes with any weights of a model's architecture: tokenizer, chat template, generation config, own code."""
    files = (path for path in folder.iterdir() if path.is_file() and path.name != CONFIG)
    return tuple(sorted(path for path in files if not any(fnmatch(path.name, pattern) for pattern in STATE)))


def copy_companions(source: Path, target: Path) -> None:
    """Copy them, links resolved."""
    for path in companions(source):
        shutil.copyfile(path, target / path.name)


def trusts_code(folder: Path) -> bool:
    """Whether the model was prepared with code of its own, which is linked only where the user declared trust."""
    return any(folder.glob("*.py"))
