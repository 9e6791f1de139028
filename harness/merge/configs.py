"""What models' configs say against merging them, where their tensors look alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from harness.canonical import Json
from harness.errors import UserError
from harness.merge.tensors import Stored, unlike
from harness.modelfolder import CONFIG

_MEANING = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rope_theta",
)
"""What a network does with tensors of one shape. Spelt as configs do; where one leaves it out, nothing is compared."""


def check_configs(folders: Mapping[str, Path]) -> None:
    """Raise UserError where two named models would do different things with the same tensors."""
    configs = {name: _config(folder) for name, folder in folders.items()}
    for one, two in combinations(configs, 2):
        for key in _MEANING:
            here, there = configs[one].get(key), configs[two].get(key)
            if here is not None and there is not None and here != there:
                raise unlike(one, two, f"{key} is {here} in one and {there} in the other")


def check_numbers(name: str, folder: Path) -> None:
    """Raise UserError for a model whose tensors are codes of weights, of which a mean or a difference means nothing."""
    coded = [
        f"{tensor} is {str(place.dtype).removeprefix('torch.')}"
        for tensor, place in Stored.model(folder).places.items()
        if place.dtype.is_floating_point and place.dtype.itemsize == 1
    ]
    if _config(folder).get("quantization_config") or coded:
        how = coded[0] if coded else "its config has quantization_config"
        raise UserError(f"the weights of {name} are quantised: {how}", "merge the model that they were made from")


def _config(folder: Path) -> dict[str, Json]:
    config: dict[str, Json] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return config
