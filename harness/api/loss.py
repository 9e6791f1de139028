"""The loss: what it sees of a micro-batch and of the model, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from harness.api.data import PRETRAINING, Part

if TYPE_CHECKING:
    import torch


class Batch(Protocol):
    """One micro-batch as a loss sees it. All tensors have the shape [rows, length]; a row may pack several examples.

    Position t stands for the token at t, as the target of the prediction made at t - 1.
    """

    @property
    def input_ids(self) -> torch.Tensor:
        """Tokens, int64."""
        ...

    @property
    def parts(self) -> torch.Tensor:
        """`Part` of each token, uint8."""
        ...

    @property
    def segments(self) -> torch.Tensor:
        """Which example of the micro-batch the token belongs to, from 0; -1 on padding."""
        ...

    def is_part(self, *parts: Part) -> torch.Tensor:
        """1.0 where the token is one of the parts, else 0.0; float32."""
        ...

    def leads(self, part: Part) -> torch.Tensor:
        """1.0 on the unbroken run of `part` with which each example begins, else 0.0; float32."""
        ...

    @property
    def example_lengths(self) -> torch.Tensor:
        """Tokens of the example that the token belongs to, int64; 0 on padding."""
        ...

    @property
    def longest(self) -> int:
        """Tokens of the longest example of the whole optimiser step, over all its micro-batches."""
        ...

    def uniform(self, width: int) -> torch.Tensor:
        """Random numbers, uniform between -1 and 1, [rows, length, width], float32; 0 on padding.

        Fixed by the run's seed, the stage's order and the example alone: they are the same however the step is laid
        out and split, on any number of ranks, and after a resume. Every call returns the same.
        """
        ...


class Model(Protocol):
    """The model as a token loss sees it: losses per token, computed in chunks, never the whole logits."""

    def token_nll(self, batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each token given those before it, [rows, length], float32, 0 at segment starts."""
        ...

    def token_kl(self, batch: Batch, reference: Model) -> torch.Tensor:
        """KL(self || reference) of what the two predict for each token, summed over the whole vocabulary, in nats.

        [rows, length], float32, 0 at segment starts.
        """
        ...

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits that predict each token, [rows, length, vocabulary]. Costs memory; for those who need them."""
        ...


def nll(model: Model, batch: Batch, references: Mapping[str, Model]) -> torch.Tensor:  # noqa: ARG001 (the shape of every token loss)
    """The plain token loss: cross-entropy."""
    return model.token_nll(batch)


Reference = Literal["base", "start", "fisher"]


@dataclass(frozen=True)
class Fisher:
    """The diagonal of the Fisher information of the base model's weights, estimated by a job of the plan.

    The squared gradient of an example's log-likelihood, summed over examples and divided by their scored tokens. The
    labels are those of the data (the empirical Fisher), and responses and texts are what is scored.
    """

    role: str = PRETRAINING
    """Role of the datasets it is estimated on, in equal parts."""
    examples: int = 256
    """At most so many."""


Penalty = Callable[["torch.nn.Module", "Mapping[str, torch.nn.Module]"], "torch.Tensor"]
"""Of the network in training and the references by name: a scalar."""


@dataclass(frozen=True)
class Loss:
    """What is minimised: `sum(weights * per_token) / sum(weights)` over the whole effective batch, plus a penalty.

    `weights` is evaluated before the forward pass, so that the mean is exact over accumulation, packing and ranks.
    """

    weights: Callable[[Batch], torch.Tensor]
    per_token: Callable[[Model, Batch, Mapping[str, Model]], torch.Tensor] = nll
    penalty: Penalty | None = None
    """Counted once per optimiser step, not per token."""
    per_pair: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """Of preference pairs: the losses, [pairs], from `sum(weights * per_token)` over each chosen and each rejected
    conversation, [pairs] both. A step minimises their mean, whatever the stage's `loss_reduction`."""
    references: tuple[Reference, ...] = ()
    """Frozen models the loss compares with: `base`, or the model that the stage starts from."""
    fisher: Fisher | None = None
    """What the reference `fisher` is, where there is one: a network whose weights are the base's Fisher information."""
    embed: Callable[[torch.Tensor, Batch], torch.Tensor] | None = None
    """Perturbs the input embeddings [rows, length, width] in training only."""

    def penalised(self, penalty: Penalty, *references: Reference) -> Loss:
        """This loss with one more penalty, which looks at these references."""
        inner = self.penalty

        def both(network: torch.nn.Module, frozen: Mapping[str, torch.nn.Module]) -> torch.Tensor:
            found = penalty(network, frozen)
            return found if inner is None else inner(network, frozen) + found

        return replace(self, penalty=both, references=tuple(dict.fromkeys((*self.references, *references))))


def token_loss(weights: Callable[[Batch], torch.Tensor]) -> Loss:
    """Cross-entropy under token weights: all there is to SFT, instruction modelling and prompt weighting."""
    return Loss(weights=weights)


def dpo(beta: float = 0.1) -> Loss:
    """Direct preference optimisation (arXiv:2305.18290, equation 7) against the model that the stage starts from.

    `-log sigmoid(beta * (r(chosen) - r(rejected)))`, where `r` is how much likelier an answer has become, in nats,
    its end-of-turn token included.
    """

    def unlikelier(model: Model, batch: Batch, references: Mapping[str, Model]) -> torch.Tensor:
        return model.token_nll(batch) - references["start"].token_nll(batch)

    def per_pair(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import logsigmoid

        return -logsigmoid(beta * (rejected - chosen))

    return Loss(
        weights=lambda batch: batch.is_part(Part.RESPONSE),
        per_token=unlikelier,
        per_pair=per_pair,
        references=("start",),
    )
