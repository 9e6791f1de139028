"""Early stopping on a held-out split, a baseline: it wraps whatever strategy the arm has.

Each stage holds examples out, stops when the loss on them falls no more, and leaves the model with the lowest.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

from harness.api import Arm, DataInfo, EarlyStopping, Plugin, Stage, hookimpl


class EarlyStoppingOptions(EarlyStopping):
    """What is held out, and how patient the stages are: as `train.early_stopping` of a recipe."""


PLUGIN = Plugin(
    name="early_stopping",
    version="1.1",
    summary="Baseline: each stage stops when the loss on held-out examples falls no more, and keeps its best model.",
    options=EarlyStoppingOptions,
)


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner stages, each stopped early."""
    stages = yield
    how = arm.options(EarlyStoppingOptions).model_dump(mode="json")
    return [replace(stage, train={**stage.train, "early_stopping": how}) for stage in stages]
