"""Training stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.api.data import Mixture
from harness.api.loss import Loss


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
