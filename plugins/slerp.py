"""SLERP: spherical linear interpolation between two models (Shoemake, 1985, doi:10.1145/325165.325242).

Every parameter is taken as one vector and moved along the arc between the two models' vectors, by the share `t` of the
angle. Vectors that lie almost on one line, or have no length, are interpolated in a straight line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from harness.api import Arm, Combination, Merger, Options, Parameter, Plugin, Share, Stage, UserError, experts, hookimpl

_PAIR = 2
_IN_LINE = 0.9995
"""Cosine from which on the arc is as good as straight, and its formula divides by almost nothing."""


class SlerpOptions(Options):
    """How far the way is gone."""

    t: Share = Fraction(1, 2)
    """0 is the first model, 1 the second."""


PLUGIN = Plugin(
    name="slerp",
    version="1.0",
    summary="Merge two experts: spherical interpolation; of one expert, between the base and it.",
    options=SlerpOptions,
)


@dataclass(frozen=True)
class Slerp(Combination):
    """`sin((1 - t) a) / sin(a) * u + sin(t a) / sin(a) * v`, with the angle `a` between u and v."""

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """The point on the arc; the second weight is t."""
        (first, second), (_, t) = parameter.tensors, parameter.weights
        lengths = first.norm() * second.norm()
        cosine = (first * second).sum() / lengths
        if lengths == 0 or cosine.abs() > _IN_LINE:
            return first.mul_(1 - t).add_(second, alpha=t)
        angle = cosine.acos()
        return first.mul_(((1 - t) * angle).sin() / angle.sin()).add_(second.mul_((t * angle).sin() / angle.sin()))


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The way from the first expert to the second; from the base where there is one expert."""
    t, names = arm.options(SlerpOptions).t, experts(stages)
    if len(names) == 1:
        names = ("base", *names)
    if len(names) != _PAIR:
        raise UserError(f"slerp merges two models, and there are {len(names)}", "use average, or train two experts")
    return Slerp(names, (1 - t, t))
