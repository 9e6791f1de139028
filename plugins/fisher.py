"""Fisher-weighted averaging (Matena & Raffel, 2022, arXiv:2111.09832): every weight counts as much as it matters.

`theta = sum_j a_j F_j theta_j / sum_j a_j F_j`, entry by entry, with the diagonal of each model's Fisher information
`F_j = E_x E_y~p(y|x) [(d log p(y|x) / d theta_j)^2]`, estimated on the data that its stage trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.api import (
    Arm,
    Combination,
    Merger,
    Options,
    Parameter,
    Parameters,
    Plugin,
    Rational,
    Stage,
    StageFisher,
    experts,
    hookimpl,
    proportions,
)

_TINY = 1e-30
"""Floor of a model to which nothing matters."""


class FisherOptions(Options):
    """How the Fisher information is estimated and used."""

    examples: int = Field(256, ge=1)
    """At most so many of a stage's examples."""
    labels: Literal["sampled", "data"] = "sampled"
    """`sampled`: a token is drawn from the model's prediction at every place of a response, as in the definition.
    `data`: the response's own tokens (the empirical Fisher)."""
    normalize: bool = True
    """Divide each model's Fisher information by its norm over the whole model, as the authors' code does, so that no
    model outweighs the others by its scale alone."""
    floor: float = Field(1e-6, gt=0)
    """Smallest entry of a model's Fisher information, as a share of its mean entry: what matters to no model is then
    averaged plainly. The authors' code has an absolute floor, for classifiers."""
    weights: tuple[Rational, ...] = ()
    """One for each model besides, relative to one another; none: all weigh the same."""


PLUGIN = Plugin(
    name="fisher",
    version="1.0",
    summary="Merge experts: their mean, every weight in proportion to its Fisher information.",
    paper="arXiv:2111.09832",
    options=FisherOptions,
)


@dataclass(frozen=True)
class FisherMean(Combination):
    """The mean in proportion to the Fisher information."""

    examples: int = 256
    labels: Literal["sampled", "data"] = "sampled"
    normalize: bool = True
    floor: float = 1e-6

    @property
    def fisher(self) -> StageFisher:
        """Of each model, on its stage's data."""
        return StageFisher(self.examples, self.labels)

    def survey(self, parameters: Parameters) -> Any:
        """Of each model's Fisher information the norm over all parameters, and the smallest entry."""
        squares, sums, n = [0.0] * len(self.stages), [0.0] * len(self.stages), 0
        for parameter in parameters():
            n += parameter.tensors[0].numel()
            for j, information in enumerate(parameter.fisher):
                squares[j] += float(information.double().square().sum())
                sums[j] += float(information.double().sum())
        norms = [square**0.5 or 1.0 for square in squares] if self.normalize else [1.0] * len(self.stages)
        return [(norm, max(self.floor * total / n, _TINY)) for norm, total in zip(norms, sums, strict=True)]

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """`sum_j a_j F_j theta_j / sum_j a_j F_j`."""
        total, mass = (parameter.tensors[0].new_zeros(parameter.tensors[0].shape) for _ in range(2))
        models = zip(parameter.tensors, parameter.fisher, parameter.weights, survey, strict=True)
        for tensor, information, weight, (norm, floor) in models:
            share = information.clamp_(min=floor).mul_(weight / norm)
            mass.add_(share)
            total.add_(share.mul_(tensor))
        return total.div_(mass)


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """Of the stages that nothing goes on from."""
    options, names = arm.options(FisherOptions), experts(stages)
    return FisherMean(
        names,
        proportions(options.weights, names),
        examples=options.examples,
        labels=options.labels,
        normalize=options.normalize,
        floor=options.floor,
    )
