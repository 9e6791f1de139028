"""Training stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import pydantic

from harness.api.data import Mixture
from harness.api.loss import Loss
from harness.api.plugin import Options, Share


class EarlyStopping(Options):
    """Hold examples of each stage out, stop when the loss on them falls no more, and keep the best model."""

    held_out: Share = Fraction(1, 20)
    """Share of the stage's examples, at least one; the same ones for every seed."""
    evaluations: int = pydantic.Field(4, ge=1)
    """How often the loss on them is looked at in each epoch; and at the end."""
    patience: int = pydantic.Field(3, ge=1)
    """So many looks in a row without a lower loss end the stage."""


@dataclass(frozen=True)
class Stage:
    """One training stage, as data. The recipe's settings hold, except where `train` names what the method defines."""

    name: str
    mixture: Mixture
    start: str = "previous"
    """`base`, `previous` (the base for the first stage) or the name of an earlier stage."""
    objective: Literal["sft", "dpo"] = "sft"
    """`dpo`: the mixture holds preference pairs (`Example.rejected`), and the loss compares their answers."""
    loss: Loss | None = None
    """None: the arm's loss, which is what lets instruction modelling live inside DMT; for `dpo`, `dpo()`."""
    train: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[float, ...] = (1.0,)
    """Shares of the stage's data after which a checkpoint is kept."""
    seed: int | None = None
