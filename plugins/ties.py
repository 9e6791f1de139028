"""TIES (Yadav et al., 2023, arXiv:2306.01708): trim, elect sign, and merge what agrees.

Of every task vector `tau_j = theta_j - theta_0` the entries of largest magnitude are kept and the others reset to 0;
for every entry the sign with the larger total magnitude is elected; entries that agree with it are averaged, and
`theta_0 + scale * tau` is the merged model.
"""

import struct
from collections.abc import Iterator, Sequence
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
    Parameters,
    Plugin,
    Rational,
    Share,
    Stage,
    disjoint_mean,
    experts,
    hookimpl,
    proportions,
)

_HALF = 16
"""Half the bits of a float32."""


class TiesOptions(MergerOptions):
    """How much is trimmed, and over what."""

    density: Share = Fraction(1, 5)
    """Share of the entries that are kept, those of largest magnitude. The paper's without held-out data: 1/5."""
    scale: Rational = Fraction(1)
    """Lambda. The paper's without held-out data: 1."""
    trim: Literal["model", "parameter"] = "model"
    """`model`: the largest entries of the whole task vector, as in the paper. `parameter`: of each parameter, as in
    mergekit and peft."""


PLUGIN = Plugin(
    name="ties",
    version="1.0",
    summary="Merge experts: trimmed task vectors, averaged where their signs agree with the elected one.",
    paper="arXiv:2306.01708",
    options=TiesOptions,
)


@dataclass(frozen=True)
class Ties(Combination):
    """Trim, elect, merge."""

    density: Fraction = Fraction(1, 5)
    scale: Fraction = Fraction(1)
    trim: str = "model"
    needs: ClassVar[frozenset[MergeNeed]] = frozenset({"base"})

    def survey(self, parameters: Parameters) -> Any:
        """Each model's smallest magnitude that is kept; None where every parameter has its own."""
        return _thresholds(parameters, self.density, len(self.stages)) if self.trim == "model" else None

    def combine(self, parameter: Parameter, survey: Any) -> Any:
        """The base and the disjoint mean of the trimmed task vectors."""
        deltas = list(parameter.deltas())
        for i, delta in enumerate(deltas):
            magnitude = delta.abs()
            threshold = survey[i] if survey else _kth_largest(magnitude, _kept(self.density, delta.numel()))
            delta.mul_(magnitude >= threshold)
        merged = disjoint_mean(deltas, parameter.weights)
        return parameter.from_base(merged.mul_(float(self.scale)))


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """TIES of the stages that nothing goes on from."""
    options, names = arm.options(TiesOptions), experts(stages)
    weights = proportions(options.weights, names)
    return Ties(names, weights, options.adapters, density=options.density, scale=options.scale, trim=options.trim)


def _kept(density: Fraction, n: int) -> int:
    """`floor(density * n)` entries, at least one."""
    return max(1, int(density * n))


def _kth_largest(magnitude: Any, k: int) -> Any:
    flat = magnitude.flatten()
    return flat.kthvalue(flat.numel() - k + 1).values


def _thresholds(parameters: Parameters, density: Fraction, models: int) -> list[float]:
    """The k-th largest magnitude of each whole task vector, exactly, without holding or sorting it.

    The bits of float32 numbers that are not negative are ordered as the numbers are: counting their upper halves finds
    the upper half of the threshold, and counting the lower halves of those that share it finds the lower one.
    """
    counts: list[Any] = [0] * models
    for parameter in parameters():
        for j, bits in enumerate(_bits(parameter)):
            counts[j] += (bits >> _HALF).bincount(minlength=1 << _HALF)
    found = [_rank(count, _kept(density, int(count.sum()))) for count in counts]
    counts = [0] * models
    for parameter in parameters():
        for j, bits in enumerate(_bits(parameter)):
            sharing = bits[bits >> _HALF == found[j][0]]
            counts[j] += (sharing & (1 << _HALF) - 1).bincount(minlength=1 << _HALF)
    whole = [upper << _HALF | _rank(count, k)[0] for count, (upper, k) in zip(counts, found, strict=True)]
    return [value for (value,) in struct.iter_unpack("f", struct.pack(f"{models}i", *whole))]


def _bits(parameter: Parameter) -> Iterator[Any]:
    """Each task vector's magnitudes, as the whole numbers of the same bits."""
    for delta in parameter.deltas():
        magnitude = delta.abs_().flatten()
        yield magnitude.view(magnitude.new_empty(0).int().dtype)


def _rank(count: Any, k: int) -> tuple[int, int]:
    """The bin of the k-th largest, and which of the largest in that bin it is."""
    above = count.flip(0).cumsum(0)
    place = int((above < k).sum())
    return len(count) - 1 - place, k - (int(above[place - 1]) if place else 0)
