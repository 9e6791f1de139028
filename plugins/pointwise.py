"""Task vectors merged entry by entry: summed, their median, or the one of largest magnitude.

The simple operators that Disperse-then-Merge (Fu et al., 2024, arXiv:2405.13432) has in its released code beside its
mean, here of `tau_j = theta_j - theta_0`, to which the base is added; of low-rank adapters with `adapters=apart`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from harness.api import (
    Arm,
    Combination,
    MergeNeed,
    Merger,
    Options,
    Parameter,
    Plugin,
    Stage,
    experts,
    hookimpl,
    weighted_sum,
)

_TOGETHER = 2**18
"""Entries sorted at a time: sorting takes several times the memory of what is sorted."""


class PointwiseOptions(Options):
    """Which operator."""

    by: Literal["median", "sum", "max_magnitude"] = "median"
    """Of the task vectors' entries at one place. The median of an even number is the mean of the middle two."""
    adapters: Literal["merged", "apart"] = "merged"
    """`merged`: whole weights are combined. `apart`: the A and the B of low-rank adapters, each for itself."""


PLUGIN = Plugin(
    name="pointwise",
    version="1.0",
    summary="Merge experts: the median, the sum, or the largest of their task vectors' entries.",
    paper="arXiv:2405.13432",
    options=PointwiseOptions,
)


@dataclass(frozen=True)
class Pointwise(Combination):
    """One operator on the entries at each place; weights take no part."""

    by: str = "median"
    needs: ClassVar[frozenset[MergeNeed]] = frozenset({"base"})

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """The base and the operator's result."""
        operator = {"median": _median, "sum": _sum, "max_magnitude": _max_magnitude}[self.by]
        return parameter.from_base(operator(list(parameter.deltas())))


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The operator on the stages that nothing goes on from."""
    options = arm.options(PointwiseOptions)
    return Pointwise(experts(stages), adapters=options.adapters, by=options.by)


def _sum(deltas: Sequence[Any]) -> Any:
    return weighted_sum(deltas, [1.0] * len(deltas))


def _median(deltas: Sequence[Any]) -> Any:
    n, places = len(deltas), [delta.flatten().split(_TOGETHER) for delta in deltas]
    for parts in zip(*places, strict=True):
        ordered = parts[0].new_empty((n, len(parts[0])))
        for row, part in zip(ordered, parts, strict=True):
            row.copy_(part)
        ordered = ordered.sort(dim=0).values
        parts[0].copy_((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
    return deltas[0]


def _max_magnitude(deltas: Sequence[Any]) -> Any:
    largest = deltas[0]
    for delta in deltas[1:]:
        # Of two that differ in sign alone the positive one, so that the order of the models makes no difference.
        wins = (delta.abs() > largest.abs()) | ((delta.abs() == largest.abs()) & (delta > largest))
        largest = delta.where(wins, largest)
    return largest
