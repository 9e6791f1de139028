"""One stage per dataset, by size: a curriculum that knows nothing but how many examples there are."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Options, Plugin, Stage, hookimpl


class SmallestFirstOptions(Options):
    """Which end to begin at."""

    reverse: bool = False
    """Begin with the largest dataset."""


PLUGIN = Plugin(
    name="smallest_first",
    version="1.1",
    summary="One stage per dataset, from the smallest to the largest.",
    options=SmallestFirstOptions,
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """A dataset of unknown size counts as empty."""
    reverse = arm.options(SmallestFirstOptions).reverse
    names = sorted(data, key=lambda name: data[name].n or 0, reverse=reverse)
    return [Stage(name, Mixture.of(name)) for name in names]
