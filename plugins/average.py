"""The mean of the experts' weights: a uniform soup (Wortsman et al., 2022, arXiv:2203.05482), or a weighted one.

`theta = sum_j a_j theta_j`, with the weights divided by their sum.
"""

from collections.abc import Sequence

from harness.api import Arm, Average, Merger, MergerOptions, Plugin, Stage, experts, hookimpl, proportions


class AverageOptions(MergerOptions):
    """What is averaged, and how much each model counts."""


PLUGIN = Plugin(
    name="average",
    version="1.0",
    summary="Merge experts: the mean of their weights, uniform or weighted.",
    paper="arXiv:2203.05482",
    options=AverageOptions,
)


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The weighted mean of the stages that nothing goes on from."""
    options, names = arm.options(AverageOptions), experts(stages)
    weights = proportions(options.weights, names) if options.weights else ()
    return Average(names, weights, options.adapters)
