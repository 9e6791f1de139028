"""Task arithmetic (Ilharco et al., 2023, arXiv:2212.04089): task vectors are added to the base.

A task vector is what training changed, `tau_j = theta_j - theta_0`; the merged model is
`theta_0 + scale * sum_j w_j tau_j`. A negative scale takes away what was learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from harness.api import (
    Arm,
    Combination,
    MergeNeed,
    Merger,
    MergerOptions,
    Parameter,
    Plugin,
    Rational,
    Stage,
    experts,
    hookimpl,
    weighted_sum,
)


class TaskArithmeticOptions(MergerOptions):
    """How much of the task vectors is added."""

    scale: Rational = Fraction(2, 5)
    """Lambda. The paper chooses it on held-out data; 2/5 is what is used where there is none."""
    weights: tuple[Rational, ...] = ()
    """A factor of each task vector besides; none: 1 each, so that they are summed."""


PLUGIN = Plugin(
    name="task_arithmetic",
    version="1.0",
    summary="Merge experts: the sum of their task vectors, scaled, on the base.",
    paper="arXiv:2212.04089",
    options=TaskArithmeticOptions,
)


@dataclass(frozen=True)
class TaskArithmetic(Combination):
    """`theta_0 + scale * sum_j w_j tau_j`."""

    scale: Fraction = Fraction(2, 5)
    needs: ClassVar[frozenset[MergeNeed]] = frozenset({"base"})

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """The base and the scaled sum."""
        total = weighted_sum(parameter.deltas(), parameter.weights)
        return parameter.from_base(total.mul_(float(self.scale)))


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The task vectors of the stages that nothing goes on from, added to the base."""
    options, names = arm.options(TaskArithmeticOptions), experts(stages)
    weights = options.weights or tuple(Fraction(1) for _ in names)
    return TaskArithmetic(names, weights, options.adapters, scale=options.scale)
