"""DARE (Yu et al., 2024, arXiv:2311.03099): drop entries of the task vectors at random, and rescale the others.

Every entry of `tau_j = theta_j - theta_0` is kept with probability `density`, which is 1 - p of the paper, and divided
by it, so that its expectation stays; then the task vectors are averaged, or merged as TIES merges them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

from harness.api import (
    Arm,
    Combination,
    MergeNeed,
    Merger,
    MergerOptions,
    Parameter,
    Plugin,
    Rational,
    Share,
    Stage,
    UserError,
    disjoint_mean,
    experts,
    hookimpl,
    proportions,
    weighted_sum,
)


class DareOptions(MergerOptions):
    """How much is dropped, and how the rest is merged."""

    density: Share = Fraction(1, 10)
    """Probability with which an entry is kept. The paper drops 90 % of them, and more of larger models."""
    consensus: Literal["linear", "ties"] = "linear"
    """`linear`: the weighted mean of what is left; `ties`: elect a sign and average what agrees with it."""
    scale: Rational = Fraction(1)
    """Lambda, a factor of the merged task vector."""


PLUGIN = Plugin(
    name="dare",
    version="1.0",
    summary="Merge experts: task vectors with entries dropped at random and the others rescaled, averaged or as TIES.",
    paper="arXiv:2311.03099",
    options=DareOptions,
)


@dataclass(frozen=True)
class Dare(Combination):
    """Drop, rescale, merge."""

    density: Fraction = Fraction(1, 10)
    consensus: str = "linear"
    scale: Fraction = Fraction(1)
    needs: ClassVar[frozenset[MergeNeed]] = frozenset({"base", "seed"})

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """The base and what the dropped and rescaled task vectors come to."""
        density, deltas = float(self.density), []
        for delta in parameter.deltas():
            kept = delta.new_full(delta.shape, density).bernoulli(generator=parameter.generator)
            deltas.append(delta.mul_(kept).div_(density))
        merge = weighted_sum if self.consensus == "linear" else disjoint_mean
        merged = merge(deltas, parameter.weights)
        return parameter.from_base(merged.mul_(float(self.scale)))


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """DARE of the stages that nothing goes on from."""
    options, names = arm.options(DareOptions), experts(stages)
    if options.density == 0:
        raise UserError("dare.density is 0: nothing would be left of the experts", "--set dare.density=1/10")
    weights = proportions(options.weights, names)
    return Dare(
        names,
        weights,
        options.adapters,
        density=options.density,
        consensus=options.consensus,
        scale=options.scale,
    )
