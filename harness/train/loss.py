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

    @property
    def parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias, to be read once: under ZeRO-3 every look at them gathers them."""
        return self.linear.weight, self.linear.bias

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
    _nll: torch.Tensor | None = field(default=None, repr=False)

    def token_nll(self, batch: Batch) -> torch.Tensor:
        """Negative log-likelihoods, [1, tokens], float32; 0 where the loss's weight is 0, which costs nothing."""
        assert isinstance(batch, MicroBatch)
        if self._nll is None:
            with self._tracked():
                targets = batch.input_ids[0].index_select(0, batch.kept)
                self._nll = self._spread(self._losses(self._predicting(batch), targets), batch)
        return self._nll

    def token_kl(self, batch: Batch, reference: Model) -> torch.Tensor:
        """KL(self || reference), [1, tokens], float32; 0 where the loss's weight is 0, which costs nothing."""
        assert isinstance(batch, MicroBatch)
        assert isinstance(reference, CausalModel)
        with reference._tracked():  # noqa: SLF001 -- another model of this class
            other = reference._predicting(batch)  # noqa: SLF001

        weights, others = self.head.parameters, reference.head.parameters

        def divergence(hidden: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            ours = self.head.logits(hidden, *weights).log_softmax(-1)
            theirs = reference.head.logits(other, *others).log_softmax(-1)
            return (ours.exp() * (ours - theirs)).sum(-1)

        with self._tracked():
            return self._spread(self._by_chunk(divergence, self._predicting(batch), other, logits=2), batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits that predict each token, [1, tokens, vocabulary], float32; 0 for the first token of a segment."""
        assert isinstance(batch, MicroBatch)
        with self._tracked():
            logits = self.head.logits(self._run(batch), *self.head.parameters)
            shifted = logits.roll(1, dims=0)
            return shifted.masked_fill((batch.position_ids[0] == 0)[:, None], 0.0).unsqueeze(0)

    def _tracked(self) -> torch.set_grad_enabled:
        """Gradients, unless the model is frozen."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen)

    def _predicting(self, batch: MicroBatch) -> torch.Tensor:
        """Hidden states that predict the kept tokens, [kept, width]."""
        return self._run(batch).index_select(0, batch.kept - 1)

    def _spread(self, values: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
        """[kept] -> [1, tokens], 0 elsewhere."""
        hidden = self._run(batch)
        # The sum keeps every parameter in the graph of a micro-batch that scores nothing.
        blank = hidden.new_zeros(hidden.shape[0], dtype=torch.float32)
        blank = blank if len(values) else blank + 0.0 * hidden.sum()
        return blank.index_copy(0, batch.kept, values).unsqueeze(0)

    def _run(self, batch: MicroBatch) -> torch.Tensor:
        """Last hidden states, [tokens, width]."""
        if self._hidden is None:
            output = self.network.base_model(**batch.inputs, use_cache=False)
            self._hidden = output.last_hidden_state.flatten(0, 1)
        return self._hidden

    def _losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each kept position, a chunk of logits at a time."""
        weights = self.head.parameters
        if self.fused and len(targets):
            return liger.token_losses(self.head, hidden, targets, *weights)

        def entropy(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(self.head.logits(hidden, *weights), targets, reduction="none")

        return self._by_chunk(entropy, hidden, targets)

    def _by_chunk(
        self, compute: Callable[..., torch.Tensor], *positions: torch.Tensor, logits: int = 1
    ) -> torch.Tensor:
        """`compute` of some positions at a time, each of which takes so many rows of logits."""
        size = self.chunk or max(1, CHUNK_BYTES // (4 * logits * self.head.vocabulary))
        if len(positions[0]) <= size:
            return compute(*positions)
        chunks = zip(*(torch.split(tensor, size) for tensor in positions), strict=True)
        return torch.cat(
            [checkpoint(compute, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        )


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

        Of preference pairs it is the sum of `per_pair` over them instead of the sum over tokens. Gradients are averaged
        over ranks, each of which sees its own part of the sum, hence the factor `ranks`.
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
        weighted = losses * batch.weights
        if self.loss.per_pair is not None:
            weighted = self.loss.per_pair(*batch.pairs(weighted))
        total = weighted.sum() * (ranks / denominator)
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
