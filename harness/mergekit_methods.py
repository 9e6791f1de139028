"""What mergekit's methods take, as they say themselves. That brings torch: ask only where they will merge."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from importlib.util import find_spec
from typing import Any

from harness.api import MergeKit
from harness.errors import UserError


def check_method(merger: MergeKit, models: Iterable[Hashable], base: Hashable | None) -> Any:
    """The specification of the merger's method in mergekit, once that takes these models, this base and all else.

    Raises UserError where mergekit is missing or does not know the method, and for parameters, weights and models that
    the method does not take.
    """
    if find_spec("mergekit") is None:
        raise UserError("mergekit is not installed", "pip install 'instruct-harness[merge]'")
    from mergekit.merge_methods.base import BasePolicy
    from mergekit.merge_methods.registry import registered_methods

    known, method = {one.spec.name: one.spec for one in registered_methods()}, merger.method
    if method not in known:
        raise UserError(f"mergekit has no method {method!r}", f"it has {', '.join(sorted(known))}")
    spec = known[method]
    if merger.weights and not has_weights(spec):
        raise UserError(f"mergekit's {method} has no weights", "leave mergekit.weights away")
    if spec.contract.base is BasePolicy.REQUIRED and base is None:
        raise UserError(f"mergekit's {method} needs the base", "give it: --base MODEL; in a run, mergekit.base=true")
    _check_parameters(merger, spec)
    try:
        spec.contract.validate_ids(list(dict.fromkeys([*models, *([] if base is None else [base])])), base)
    except ValueError as error:
        raise refused(method, error) from error
    return spec


def has_weights(spec: Any) -> bool:
    """Whether a method weighs its models."""
    return any(parameter.name == "weight" for parameter in spec.parameters)


def refused(method: str, error: Exception) -> UserError:
    """What to say where mergekit raises, which has no errors of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:3]) or type(error).__name__
    return UserError(f"mergekit refuses {method}: {said}", "see mergekit's documentation of it")


def _check_parameters(merger: MergeKit, spec: Any) -> None:
    parameters = {parameter.name: parameter for parameter in spec.parameters if parameter.name != "weight"}
    if unknown := sorted(merger.parameters.keys() - parameters.keys()):
        raise UserError(
            f"mergekit's {merger.method} has no parameter {unknown[0]!r}",
            f"it has {', '.join(sorted(parameters)) or 'none'}",
        )
    if missing := sorted(name for name, one in parameters.items() if one.required and name not in merger.parameters):
        raise UserError(
            f"mergekit's {merger.method} needs the parameter {missing[0]!r}",
            f"--set 'mergekit.parameters={{{missing[0]}: ...}}'",
        )
    for name, value in merger.parameters.items():
        try:
            parameters[name].validate(value)
        except ValueError as error:
            raise refused(merger.method, error) from error
