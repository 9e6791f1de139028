"""L2 regularisation towards the base model (L2-SP, arXiv:1802.01483), a baseline of DTM's paper (arXiv:2405.13432).

It wraps whatever loss the arm has. All weights must be trained and whole: without adapters, and without ZeRO-3.
"""

from collections.abc import Generator, Mapping
from typing import Any

import pydantic

from harness.api import Arm, Loss, Options, Plugin, hookimpl


class L2BaseOptions(Options):
    """How strongly the weights are held to the base's."""

    weight: float = pydantic.Field(0.01, ge=0)
    """Each step's loss gains `weight / 2` times the squared distance of all weights from the base's."""


PLUGIN = Plugin(
    name="l2_base",
    version="1.0",
    summary="Baseline: the squared L2 distance of the weights from the base model's is penalised.",
    paper="arXiv:1802.01483",
    options=L2BaseOptions,
)


@hookimpl(wrapper=True)
def loss_fn(arm: Arm) -> Generator[None, Loss, Loss]:
    """The inner loss with the penalty `weight / 2 * sum((w - w_base)^2)`."""
    inner = yield
    weight = arm.options(L2BaseOptions).weight

    def penalty(network: Any, references: Mapping[str, Any]) -> Any:
        base = dict(references["base"].named_parameters())
        return weight / 2 * sum((own - base[name]).square().sum() for name, own in network.named_parameters())

    return inner.penalised(penalty, "base")
