"""Mergers: what becomes of the stages' models. A plug-in declares one; the core reads weights and writes the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.api.data import Data
from harness.api.nodes import models_behind
from harness.api.plugin import Options, Rational
from harness.api.stages import Stage
from harness.errors import UserError

if TYPE_CHECKING:
    import torch

MergeNeed = Literal["base", "seed"]
"""What reaches a combination besides the models' weights."""


class Merger:
    """What becomes of the stages' models: one of the classes below, or a plug-in's own `Combination`."""


@dataclass(frozen=True)
class KeepLast(Merger):
    """The model of the last stage, untouched; refuses several unmerged experts."""


@dataclass(frozen=True)
class StageFisher:
    """The diagonal of the Fisher information of each merged model, on what its stage trained on: a job for each."""

    examples: int = 256
    """At most so many of its stage's."""
    labels: Literal["sampled", "data"] = "sampled"
    """`sampled`: tokens are drawn from the model's own predictions, as the Fisher information is defined; `data`: the
    data's own (the empirical one)."""


@dataclass(frozen=True)
class Parameter:
    """One parameter as the models have it: float32 tensors of one shape, the operator's own to write over."""

    name: str
    tensors: tuple[torch.Tensor, ...]
    """The models', in the order of `Combination.stages`."""
    weights: tuple[float, ...]
    """Theirs."""
    base: torch.Tensor | None = None
    """The tensor that the models' training started from, where the combination needs it."""
    fisher: tuple[torch.Tensor, ...] = ()
    """The diagonal of each model's Fisher information, where the combination asks for it."""
    generator: torch.Generator | None = None
    """Random numbers of its own, fixed by the run's seed and its name; where the combination needs some."""

    def deltas(self) -> Iterator[torch.Tensor]:
        """The models' task vectors, `theta_j - theta_0`, made in the tensors' place: to be asked for once.

        Without a base, what the tensors are themselves: adapters start from nothing.
        """
        for tensor in self.tensors:
            yield tensor if self.base is None else tensor.sub_(self.base)

    def from_base(self, delta: torch.Tensor) -> torch.Tensor:
        """`theta_0 + delta`."""
        return delta if self.base is None else delta.add_(self.base)


HeldOutLoss = Callable[[Sequence[str]], float]
"""The mean loss of response tokens in the held-out data, under the combination of some of the stages."""

Parameters = Callable[[], Iterable[Parameter]]
"""All parameters of the models, one after the other, each time it is called."""


@dataclass(frozen=True)
class Merged(Merger):
    """The named stages' models become one."""

    stages: tuple[str, ...]
    weights: tuple[Fraction, ...] = ()
    """One for each stage; none stands for `1 / len(stages)` each."""
    by_examples: bool = field(default=False, kw_only=True)
    """Weigh each stage by the examples that it has been trained on instead: its share of them, known once it was."""

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The weights, uniform where none are named."""
        return self.weights or tuple(Fraction(1, len(self.stages)) for _ in self.stages)


@dataclass(frozen=True)
class Combination(Merged, ABC):
    """The models become one a parameter at a time. Every field is part of the merge's key.

    A plug-in's merger is a frozen dataclass below this one, whose further fields are its options.
    """

    adapters: Literal["merged", "apart"] = "merged"
    """`apart`: combine the A and the B of the stages' low-rank adapters, each for itself, and add their product to the
    base; `merged`: combine whole weights."""

    held_out: tuple[Data, ...] = field(default=(), kw_only=True)
    """What `members` scores by, which no stage has trained on; see `hold_out`."""

    needs: ClassVar[frozenset[MergeNeed]] = frozenset()

    @property
    def fisher(self) -> StageFisher | None:
        """How the models' Fisher information is estimated, for combinations that weigh by it."""
        return None

    @property
    def chooses(self) -> bool:
        """Whether it merges only some of its stages' models."""
        return type(self).members is not Combination.members

    def members(self, loss: HeldOutLoss) -> Sequence[str]:  # noqa: ARG002 (most take all)
        """Which of the stages are merged: all, unless `held_out` says by what to choose."""
        return self.stages

    def survey(self, parameters: Parameters) -> Any:  # noqa: ARG002 (most need none)
        """What must be known of all parameters before the first is combined; every `combine` is given it."""
        return None

    @abstractmethod
    def combine(self, parameter: Parameter, survey: Any) -> torch.Tensor:
        """The merged tensor."""


@dataclass(frozen=True)
class Average(Combination):
    """Weighted mean of the named stages' weights, `sum(a_j M_j)` (arXiv:2405.13432); uniform without weights.

    The weights add up to 1.
    """

    def combine(self, parameter: Parameter, survey: Any) -> torch.Tensor:  # noqa: ARG002 (of the base class)
        """`M_1 + sum(a_j (M_j - M_1))`, the same mean, in float32; of models that are equal exactly what they are."""
        first, *others = parameter.tensors
        mean = first.clone()
        for other, weight in zip(others, parameter.weights[1:], strict=True):
            mean.add_(other.sub_(first), alpha=weight)
        return mean


@dataclass(frozen=True)
class MergeKit(Merged):
    """A merge that mergekit does. `weights` are its `weight` of each model; none: the method has no such parameter."""

    method: str = "linear"
    """mergekit's name of it."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """For all models, as under `parameters` in a mergekit configuration."""
    base: bool = True
    """Whether it is given the model that the stages started from as `base_model`."""


class MergerOptions(Options):
    """Base of the options of plug-ins that merge by a mean."""

    weights: tuple[Rational, ...] = ()
    """One for each model, relative to one another; none: all weigh the same."""
    adapters: Literal["merged", "apart"] = "merged"
    """`merged`: whole weights are combined. `apart`: the A and the B of low-rank adapters, each for itself, and their
    product added to the base."""


# --- what several mergers are made of --------------------------------------------------------------------------------


def weighted_sum(tensors: Iterable[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """`sum(a_j t_j)`, added up in the order of the tensors; 0 to begin with, so that no tensor is written over."""
    total: torch.Tensor | None = None
    for tensor, weight in zip(tensors, weights, strict=True):
        total = tensor.new_zeros(tensor.shape) if total is None else total
        total.add_(tensor, alpha=weight)
    assert total is not None
    return total


def disjoint_mean(deltas: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Elect a sign for every entry, then average what agrees with it (TIES, arXiv:2306.01708, section 3).

    The sign is that of the weighted sum, positive where the sum is 0; entries that are 0 take no part in the mean.
    Writes over the deltas.
    """
    positive = weighted_sum(deltas, weights) >= 0
    total, mass = (deltas[0].new_zeros(deltas[0].shape) for _ in range(2))
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = (delta > 0).where(positive, delta < 0)
        total.add_(delta.mul_(agrees), alpha=weight)
        mass.add_(agrees, alpha=weight)
    return total.div_(mass.masked_fill_(mass == 0, 1.0))


def proportions(weights: Sequence[Fraction], stages: Sequence[str]) -> tuple[Fraction, ...]:
    """The weights divided by their sum, exactly; uniform where there are none.

    Raises UserError for another number of weights than stages, and for weights without a mean.
    """
    if not weights:
        return tuple(Fraction(1, len(stages)) for _ in stages)
    if len(weights) != len(stages):
        raise UserError(
            f"there are {len(weights)} weights for {len(stages)} models ({', '.join(stages)})", "give one for each"
        )
    if min(weights) < 0 or sum(weights) == 0:
        raise UserError(f"the weights {', '.join(map(str, weights))} have no mean", "give weights of 0 or more")
    return tuple(weight / sum(weights) for weight in weights)


def experts(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Names of the stages whose models nothing goes on from: what there is to merge."""
    used = set(starts(stages).values())
    used.update(name for stage in stages for data in stage.mixture.items for name in models_behind(data))
    return tuple(stage.name for stage in stages if stage.name not in used)


def starts(stages: Sequence[Stage]) -> dict[str, str]:
    """By stage the model it goes on from: `base`, or the name of an earlier stage."""
    found, previous = dict[str, str](), "base"
    for stage in stages:
        found[stage.name] = previous if stage.start == "previous" else stage.start
        previous = stage.name
    return found
