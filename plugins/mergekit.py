"""Whatever else mergekit merges by (Goddard et al., 2024, arXiv:2403.13257): DELLA, breadcrumbs, Karcher mean, SCE ...

The experts and the base are given to mergekit's own `run_merge`. Needs the package mergekit, an extra of this one.
"""

from collections.abc import Mapping, Sequence

from harness.api import Arm, MergeKit, Merger, Options, Plugin, Rational, Stage, experts, hookimpl


class MergeKitOptions(Options):
    """mergekit's method and its parameters."""

    method: str = "della"
    """A method of mergekit that merges whole models."""
    parameters: Mapping[str, bool | int | float | str] = {}
    """For all models, as under `parameters` in a mergekit configuration: `{density: 0.5, lambda: 1.0}`."""
    weights: tuple[Rational, ...] = ()
    """mergekit's `weight` of each model; none: 1 over their number. Only for methods that have one."""
    base: bool = True
    """Whether the method is given the model that training started from, where it can take one."""


PLUGIN = Plugin(
    name="mergekit",
    version="1.0",
    summary="Merge experts by any other method of mergekit.",
    paper="arXiv:2403.13257",
    options=MergeKitOptions,
)


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The stages that nothing goes on from, handed to mergekit."""
    options = arm.options(MergeKitOptions)
    return MergeKit(experts(stages), options.weights, options.method, options.parameters, options.base)
