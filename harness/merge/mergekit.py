"""Merges that mergekit does, with our declaration of them as its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.api import MergeKit
from harness.merge.tensors import Stored, check_alike
from harness.mergekit_methods import check_method, has_weights, refused
from harness.modelfolder import CONFIG, copy_companions


def merge_by_mergekit(merger: MergeKit, models: Mapping[str, Path], base: Path | None, target: Path, seed: int) -> int:
    """Leave what mergekit makes of the models in `target`, computed in float32; returns its parameters.

    Dtype, config and tokenizer are the first model's.
    Raises UserError where mergekit is missing, does not know the method, or refuses its parameters or the models.
    """
    spec = check_method(merger, models.values(), base)
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    opened = [(name, Stored.model(folder)) for name, folder in models.items()]
    for other in opened[1:]:
        check_alike(opened[0], other)
    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True, random_seed=seed)
    try:
        configuration = MergeConfiguration.model_validate(_configuration(merger, spec, models, base))
        run_merge(configuration, str(target), options)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise refused(merger.method, error) from error
    first = next(iter(models.values()))
    shutil.copyfile(first / CONFIG, target / CONFIG)
    copy_companions(first, target)
    merged = Stored.model(target)
    check_alike(opened[0], ("the merged model", merged))
    return sum(torch.Size(merged.shape(name)).numel() for name in merged.names)


def _configuration(merger: MergeKit, spec: Any, models: Mapping[str, Path], base: Path | None) -> dict[str, Any]:
    from mergekit.merge_methods.base import BasePolicy

    weighted = has_weights(spec)
    shares = dict(zip(models, merger.shares, strict=True))

    def entry(name: str, folder: Path) -> dict[str, Any]:
        return {"model": str(folder.resolve()), "parameters": {"weight": float(shares[name])} if weighted else {}}

    based = spec.contract.base in {BasePolicy.REQUIRED, BasePolicy.OPTIONAL}
    return {
        "merge_method": merger.method,
        "models": [entry(name, folder) for name, folder in models.items()],
        "parameters": dict(merger.parameters),
        "dtype": "float32",
        "out_dtype": _dtype(next(iter(models.values()))),
        **({"base_model": str(base.resolve())} if base and based else {}),
    }


def _dtype(folder: Path) -> str:
    """That of the model's first tensor of numbers with a fraction."""
    stored = Stored.model(folder)
    found = (stored.dtype(name) for name in sorted(stored.names))
    return str(next(dtype for dtype in found if dtype.is_floating_point)).removeprefix("torch.")
