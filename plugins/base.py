"""No training at all: the row of the model that every other arm starts from."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Plugin, Stage, hookimpl

PLUGIN = Plugin(name="base", version="1.0", summary="The untrained starting model, evaluated like every other arm.")


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """No stage."""
    return []
