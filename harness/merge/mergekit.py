"""Merges that mergekit does, with our declaration of them as its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.api import MergeKit
from harness.errors import UserError
from harness.merge.tensors import Stored, check_alike
from harness.modelfolder import CONFIG, copy_companions


def merge_by_mergekit(merger: MergeKit, models: Mapping[str, Path], base: Path | None, target: Path, seed: int) -> int:
    """Leave what mergekit makes of the models in `target`, computed in float32; returns its parameters.

    Dtype, config and tokenizer are the first model's.
    Raises UserError where mergekit is missing, does not know the method, or refuses its parameters or the models.
    """
    if find_spec("mergekit") is None:
        raise UserError("mergekit is not installed", "pip install 'instruct-harness[merge]'")
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    opened = [(name, Stored.model(folder)) for name, folder in models.items()]
    for other in opened[1:]:
        check_alike(opened[0], other)
    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True, random_seed=seed)
    try:
        configuration = MergeConfiguration.model_validate(_configuration(merger, models, base))
        run_merge(configuration, str(target), options)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:  # mergekit has no errors of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = " ".join(lines[:3]) or type(error).__name__
        raise UserError(f"mergekit refuses {merger.method}: {said}", "see mergekit's documentation of it") from error
    first = next(iter(models.values()))
    shutil.copyfile(first / CONFIG, target / CONFIG)
    copy_companions(first, target)
    merged = Stored.model(target)
    check_alike(opened[0], ("the merged model", merged))
    return sum(torch.Size(merged.shape(name)).numel() for name in merged.names)


def _configuration(merger: MergeKit, models: Mapping[str, Path], base: Path | None) -> dict[str, Any]:
    from mergekit.merge_methods.base import BasePolicy
    from mergekit.merge_methods.registry import registered_methods

    known = {method.spec.name: method.spec for method in registered_methods()}
    if merger.method not in known:
        raise UserError(f"mergekit has no method {merger.method!r}", f"it has {', '.join(sorted(known))}")
    spec = known[merger.method]
    weighted = any(parameter.name == "weight" for parameter in spec.parameters)
    parameters = {parameter.name for parameter in spec.parameters} - {"weight"}
    if unknown := sorted(merger.parameters.keys() - parameters):
        raise UserError(
            f"mergekit's {merger.method} has no parameter {unknown[0]!r}",
            f"it has {', '.join(sorted(parameters)) or 'none'}",
        )
    if merger.weights and not weighted:
        raise UserError(f"mergekit's {merger.method} has no weights", "leave mergekit.weights away")
    if spec.contract.base is BasePolicy.REQUIRED and base is None:
        raise UserError(f"mergekit's {merger.method} needs the base", "name it: --base MODEL")
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
