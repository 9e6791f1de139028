"""The model that a run starts from, as far as it can be known without fetching or loading it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from harness.canonical import Json
from harness.errors import UserError
from harness.estimate.shape import Shape, parameters, shape_of
from harness.jobs import ModelSettings
from harness.modelfolder import CONFIG, weight_files

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""As safetensors itself allows."""
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Endings of tensors that old checkpoints hold and no model trains."""
_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Model:
    """What is known of a model; `shape` is None for an architecture that is not reckoned."""

    parameters: int | None
    shape: Shape | None
    vocabulary: int | None = None


def known(folder: Path) -> Model | None:
    """The model of a folder, its weights counted where they lie there; None where it holds no config."""
    try:
        config: Mapping[str, Json] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    shape = shape_of(config)
    counted = _counted(folder, tied=bool(shape.tied if shape else config.get("tie_word_embeddings")))
    if counted is None and shape is not None:
        counted = parameters(shape, config)
    return Model(counted, shape, config.get("vocab_size"))


def planned(settings: ModelSettings, data_root: Path | None) -> Model | None:
    """The model of a recipe: from its `init`, its folder, the hub's cache or the mirror; None until it is fetched."""
    if settings.init is not None:
        init = settings.init
        config = {**init.config, "model_type": init.architecture, "vocab_size": init.vocab_size}
        shape = shape_of(config)
        return Model(parameters(shape, config) if shape else None, shape, init.vocab_size)
    if settings.id is None:
        return None
    if Path(settings.id).is_dir():
        return known(Path(settings.id))
    places = [_snapshot(settings.id, settings.revision or "main"), data_root / settings.id if data_root else None]
    return next((model for place in places if place is not None and (model := known(place))), None)


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it has fetched."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(named or Path(home, "hub")).expanduser()


def _snapshot(name: str, revision: str) -> Path | None:
    home = hub_cache() / f"models--{name.replace('/', '--')}"
    try:
        commit = (home / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def _counted(folder: Path, *, tied: bool) -> int | None:
    """Numbers in the folder's weights, from the files' headers; None where not all of them lie there."""
    try:
        headers = [_header(path) for path in weight_files(folder)]
    except (OSError, ValueError, UserError):
        return None
    return sum(
        int(prod(entry["shape"]))
        for header in headers
        for name, entry in header.items()
        if name != "__metadata__" and not name.endswith(_BUFFERS) and not (tied and name == _HEAD)
    )


def _header(path: Path) -> dict[str, Any]:
    """A safetensors file's header: the length in 8 bytes, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"{path} is no safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
        return header
