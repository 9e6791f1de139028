"""A merger as its job declares it: the method, its options, and the models that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harness.api import Average, Combination, Data, KeepLast, Merged, MergeKit, Merger, Stage, StageFisher, experts
from harness.arms import BoundArm
from harness.canonical import Json, share
from harness.discovery import suggestion
from harness.errors import UserError
from harness.jobs import Merge

BASE = "base"
"""Role of the parent that the merged models' training started from."""

BY_EXAMPLES = "examples"
"""In the place of a weight that is known once the stages have been trained."""

FISHER = "fisher:"
"""Begins the role of the parent that holds the Fisher information of a merged model, whose stage's name follows."""

_OWN = {"stages", "weights", "by_examples", "adapters", "held_out"}
"""Fields of every combination, which have their own place in the declaration."""


@dataclass(frozen=True)
class DeclaredMerge:
    """What a merge job declares, and whether it is given the base."""

    declared: Merge
    base: bool
    held_out: tuple[Data, ...] = ()
    """What candidates are scored on, still to be declared."""
    fisher: StageFisher | None = None
    """How the Fisher information of each model is estimated, by a job of its own."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the merged models."""
        return tuple(stage for stage, _ in self.declared.weights)

    @property
    def label(self) -> str:
        """What the job does, in words."""
        method, n = self.declared.method, len(self.stages)
        return f"average {n} experts" if method == "average" else f"merge {n} experts by {method}"


def declare_merge(bound: BoundArm, stages: Sequence[Stage], known: Sequence[str], seed: int) -> DeclaredMerge | None:
    """What the arm's merger comes to over the `known` models; None where the last stage's model is kept.

    Raises UserError for a merger that names unknown stages, has another number of weights than models, or leaves
    experts lying.
    """
    merger, who = bound.merger(stages), bound.arm.id
    if isinstance(merger, KeepLast):
        _refuse_loose_experts(who, experts(stages))
        return None
    if not isinstance(merger, Merged):
        raise UserError(f"{who} merges by {type(merger).__name__}, which no job does", "return an Average")
    unknown = [name for name in merger.stages if name not in known]
    if unknown or not merger.stages:
        raise UserError(f"{who} merges {unknown or 'nothing'}", suggestion("", [s.name for s in stages]))
    if merger.weights and merger.by_examples:
        raise UserError(f"{who} merges by weights and by examples", "leave one of them away")
    if merger.weights and len(merger.weights) != len(merger.stages):
        raise UserError(
            f"{who} merges {len(merger.stages)} stages with {len(merger.weights)} weights",
            "give one weight for each stage",
        )
    if isinstance(merger, Average) and (total := sum(merger.shares, Fraction())) != 1:
        raise UserError(
            f"{who} averages with weights that add up to {share(total)}",
            "divide them by their sum, as harness.api.proportions does",
        )
    shares = [BY_EXAMPLES] * len(merger.stages) if merger.by_examples else map(share, merger.shares)
    weights = tuple(zip(merger.stages, shares, strict=True))
    if isinstance(merger, MergeKit):
        options = {name: plain(getattr(merger, name)) for name in ("method", "parameters")}
        options["mergekit"] = mergekit_version()
        return DeclaredMerge(Merge(method="mergekit", weights=weights, options=options, seed=seed), merger.base)
    if not isinstance(merger, Combination):
        raise UserError(f"{who} merges by {type(merger).__name__}, which no job does", "make it a Combination")
    return DeclaredMerge(_combination(bound, merger, weights, seed), needs_base(merger), merger.held_out, merger.fisher)


def mergekit_version() -> str | None:
    """Of the mergekit that is installed; None where none is."""
    try:
        return version("mergekit")
    except PackageNotFoundError:
        return None


def needs_base(merger: Merger) -> bool:
    """Whether it is given the model that the merged ones started from."""
    if isinstance(merger, MergeKit):
        return merger.base
    return isinstance(merger, Combination) and (BASE in merger.needs or merger.adapters == "apart")


def _combination(bound: BoundArm, merger: Combination, weights: tuple[tuple[str, str], ...], seed: int) -> Merge:
    if type(merger) is Average:
        return Merge(weights=weights, adapters=merger.adapters)
    makers = [maker["plugin"] for maker in bound.makers("merger")]
    own = {field.name: plain(getattr(merger, field.name)) for field in fields(merger) if field.name not in _OWN}
    return Merge(
        method=makers[0].split()[0],
        weights=weights,
        adapters=merger.adapters,
        options={"class": type(merger).__name__, **own},
        plugins=tuple(makers),
        seed=seed if "seed" in merger.needs else None,
    )


def plain(value: Any) -> Json:
    """JSON of a field: fractions exact, tuples and mappings as they are."""
    if isinstance(value, Fraction):
        return share(value)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _refuse_loose_experts(who: str, loose: Sequence[str]) -> None:
    if len(loose) > 1:
        raise UserError(
            f"{who} ends with {len(loose)} experts ({', '.join(loose)}) and nothing merges them",
            "add a plug-in that provides merger",
        )
