"""Elastic weight consolidation (Kirkpatrick et al., 2017, arXiv:1612.00796), a baseline of DTM (arXiv:2405.13432).

Weights that matter to what the base model knows are held to their values: how much each matters is the diagonal of the
Fisher information on text such as the base was pretrained on. All weights must be trained and whole: without adapters,
and without ZeRO-3.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import pydantic

from harness.api import PRETRAINING, Arm, Fisher, Loss, Options, Plugin, hookimpl


class EwcOptions(Options):
    """How strongly the weights are held, and what tells which of them matter."""

    weight: float = pydantic.Field(1.0, ge=0)
    """The paper's lambda: each step's loss gains `weight / 2` times the squared distances, each times its Fisher
    information."""
    role: str = PRETRAINING
    """Role of the data that the Fisher information is estimated on."""
    examples: int = pydantic.Field(256, ge=1)
    """At most so many examples of it."""


PLUGIN = Plugin(
    name="ewc",
    version="1.0",
    summary="Baseline: elastic weight consolidation, weights held to the base's as their Fisher information says.",
    paper="arXiv:1612.00796",
    options=EwcOptions,
)


@hookimpl(wrapper=True)
def loss_fn(arm: Arm) -> Generator[None, Loss, Loss]:
    """The inner loss with the penalty `weight / 2 * sum(F (w - w_base)^2)`."""
    inner = yield
    options = arm.options(EwcOptions)

    def penalty(network: Any, references: Mapping[str, Any]) -> Any:
        base, fisher = (dict(references[name].named_parameters()) for name in ("base", "fisher"))
        distances = ((fisher[name] * (own - base[name]).square()).sum() for name, own in network.named_parameters())
        return options.weight / 2 * sum(distances)

    held = inner.penalised(penalty, "base", "fisher")
    return replace(held, fisher=Fisher(options.role, options.examples))
