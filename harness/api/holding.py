"""Examples held out of training: what candidates are chosen by must be what none of them has seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from fractions import Fraction

from harness.api.data import Curated, Data, Derived, Mixture
from harness.api.nodes import walk
from harness.api.stages import Stage

REST = "rest"
"""The operation that leaves what `sample` of the same share and seed does not take."""


def hold_out(stages: Sequence[Stage], names: Collection[str], share: Fraction) -> list[Stage]:
    """The stages without a share of these datasets, the same in all of them and for every seed of the run.

    It is taken out of the datasets themselves, below all that samples, answers or curates them.
    """

    def less(name: str) -> Data:
        return Derived(name, REST, fraction=share, seed=0) if name in names else name

    return [
        replace(stage, mixture=Mixture(tuple(_changed(data, less) for data in stage.mixture.items))) for stage in stages
    ]


def held_out(stages: Sequence[Stage]) -> tuple[Derived, ...]:
    """What `hold_out` has taken out of the stages' data, dataset by dataset."""
    nodes = (node for stage in stages for item in stage.mixture.items for node in walk(item))
    taken = {str(n.parent): replace(n, op="sample") for n in nodes if isinstance(n, Derived) and n.op == REST}
    return tuple(taken.values())


def _changed(data: Data, change: Callable[[str], Data]) -> Data:
    """The same data over other datasets."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Curated):
        parents = tuple(_changed(parent, change) for parent in data.parents)
        return replace(data, parent=parents if isinstance(data.parent, tuple) else parents[0])
    return replace(data, parent=_changed(data.parent, change))
