"""Supervised fine-tuning on responses: the baseline that every method is compared with.

As a fallback provider it also completes every other arm: whoever brings only a loss trains on all data in one stage.
"""

from collections.abc import Mapping, Sequence

from harness.api import (
    PRETRAINING,
    Arm,
    DataInfo,
    KeepLast,
    Loss,
    Merger,
    Mixture,
    Part,
    Plugin,
    Stage,
    hookimpl,
    token_loss,
    without_role,
)

PLUGIN = Plugin(
    name="sft",
    version="1.0",
    summary="Baseline: cross-entropy on responses, all data in one stage, the last model kept.",
)


@hookimpl(trylast=True)
def loss_fn(arm: Arm) -> Loss:
    """Weight 1 on response tokens, 0 elsewhere."""
    return token_loss(lambda batch: batch.is_part(Part.RESPONSE))


@hookimpl(trylast=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """Everything at once."""
    return [Stage("all", Mixture.of(*without_role(data, PRETRAINING)))]


@hookimpl(trylast=True)
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """Nothing to merge."""
    return KeepLast()
