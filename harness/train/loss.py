"""The loss of a micro-batch, computed without ever holding the logits of a whole row.

`CausalModel` is the `harness.api.Model` that token losses are written over; `Objective` is what training minimises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 -- the field's name for it
from torch.utils.checkpoint import checkpoint

from harness.api import Batch, Loss, Model
from harness.errors import UserError
from harness.train import liger
from harness.train.microbatch import MicroBatch

CHUNK_BYTES = 128 * 2**20
"""Logits in memory at a time, in float32."""


@dataclass(frozen=True)
class Head:
    """How hidden states become logits: a linear map, then what some families add to it."""

    linear: torch.nn.Linear
    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, network: Any) -> Head:
        """The head of a transformers causal language model; UserError where it is not a linear layer."""
        linear = network.get_output_embeddings()
        if not isinstance(linear, torch.nn.Linear):
            raise UserError(f"{type(network).__name__} has no linear language-model head", "choose another model")
        config = network.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        return cls(linear, scale, getattr(config, "final_logit_softcapping", None))

    @property
    def vocabulary(self) -> int:
        """Rows of the head."""
        return self.linear.out_features

    def logits(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """[tokens, width] -> [tokens, vocabulary], float32."""
        logits = F.linear(hidden, weight, bias).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


@dataclass
class CausalModel:
    """One network looking at one micro-batch; the network runs once however often it is asked."""

    network: Any
    """A transformers causal language model; for packed batches, loaded with `harness.train.attention.ATTENTION`."""
    head: Head
    chunk: int | None = None
    """Positions whose logits are held at a time; None takes as many as fit in CHUNK_BYTES."""
    fused: bool = False
    """Whether Liger's kernel computes the losses."""
    frozen: bool = False
    _hidden: torch.Tensor | None = field(default=None, repr=False)

    def token_nll(self, batch: Batch) -> torch.Tensor:
        """Negative log-likelihoods, [1, tokens], float32; 0 where the loss's weight is 0, which costs nothing."""
        assert isinstance(batch, MicroBatch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            hidden = self._run(batch)
            targets = batch.input_ids[0].index_select(0, batch.kept)
            losses = self._losses(hidden.index_select(0, batch.kept - 1), targets)
            # The sum keeps every parameter in the graph of a micro-batch that scores nothing.
            blank = hidden.new_zeros(hidden.shape[0], dtype=torch.float32)
            blank = blank if len(targets) else blank + 0.0 * hidden.sum()
            return blank.index_copy(0, batch.kept, losses).unsqueeze(0)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits that predict each token, [1, tokens, vocabulary], float32; 0 for the first token of a segment."""
        assert isinstance(batch, MicroBatch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            logits = self.head.logits(self._run(batch), self.head.linear.weight, self.head.linear.bias)
            shifted = logits.roll(1, dims=0)
            return shifted.masked_fill((batch.position_ids[0] == 0)[:, None], 0.0).unsqueeze(0)

    def _run(self, batch: MicroBatch) -> torch.Tensor:
        """Last hidden states, [tokens, width]."""
        if self._hidden is None:
            output = self.network.base_model(**batch.inputs, use_cache=False)
            self._hidden = output.last_hidden_state.flatten(0, 1)
        return self._hidden

    def _losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each kept position, a chunk of logits at a time."""
        # Read once: under ZeRO-3 every look at the parameter gathers it.
        weight, bias = self.head.linear.weight, self.head.linear.bias
        if self.fused and len(targets):
            return liger.token_losses(self.head, hidden, targets, weight, bias)
        size = self.chunk or max(1, CHUNK_BYTES // (4 * self.head.vocabulary))
        if len(targets) <= size:
            return self._chunk(hidden, targets, weight, bias)
        chunks = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        return torch.cat(
            [
                checkpoint(self._chunk, rows, wanted, weight, bias, use_reentrant=False, preserve_rng_state=False)
                for rows, wanted in chunks
            ]
        )

    def _chunk(
        self, hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return F.cross_entropy(self.head.logits(hidden, weight, bias), targets, reduction="none")


@dataclass(frozen=True)
class Objective:
    """What one micro-batch adds to a step's loss."""

    loss: Loss
    head: Head
    references: Mapping[str, Any] = field(default_factory=dict)
    """Frozen transformers models by name."""
    chunk: int | None = None
    fused: bool = False
    """Whether Liger's kernel computes the losses."""
    seen: Callable[[torch.Tensor], None] = lambda _losses: None
    """Told each micro-batch's losses, one a token, outside the graph."""

    def __call__(self, network: Any, batch: MicroBatch, denominator: float, ranks: int = 1) -> torch.Tensor:
        """`sum(weights * per_token) / denominator`, and the penalty in a step's first micro-batch; a scalar.

        Gradients are averaged over ranks, each of which sees its own part of the sum, hence the factor `ranks`.
        """
        model = CausalModel(network, self.head, self.chunk, self.fused)
        with self._perturbed(network, batch):
            losses = self.loss.per_token(model, batch, self._references())
        if losses.shape != batch.weights.shape:
            raise UserError(
                f"the token loss has the shape {tuple(losses.shape)}, not {tuple(batch.weights.shape)}",
                "return one loss per token",
            )
        self.seen(losses.detach())
        total = (losses * batch.weights).sum() * (ranks / denominator)
        if self.loss.penalty is not None and batch.first:
            total = total + self.loss.penalty(network, self.references)
        return total

    def _references(self) -> dict[str, Model]:
        return {
            name: CausalModel(network, Head.of(network), self.chunk, self.fused, frozen=True)
            for name, network in self.references.items()
        }

    @contextmanager
    def _perturbed(self, network: Any, batch: MicroBatch) -> Iterator[None]:
        """`Loss.embed` on the output of the input embedding, in training only."""
        embed = self.loss.embed
        if embed is None or not network.training:
            yield
            return

        def perturb(_module: torch.nn.Module, _inputs: Any, embeddings: torch.Tensor) -> torch.Tensor:
            row = embeddings.reshape(*batch.input_ids.shape, -1)
            return embed(row, batch).view_as(embeddings)

        hook = network.get_input_embeddings().register_forward_hook(perturb)
        try:
            yield
        finally:
            hook.remove()
