"""KL regularisation towards the base model, a baseline of instruction modelling's paper (arXiv:2405.14394).

It wraps whatever loss the arm has, and counts on the tokens which that one scores: `kl`, `kl,im` and `kl,dmt` all work.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, Literal

import pydantic

from harness.api import Arm, Batch, Loss, Model, Options, Plugin, hookimpl


class KlOptions(Options):
    """How strongly, and on what, the model is held to the base."""

    weight: float = pydantic.Field(0.1, ge=0)
    """The paper's lambda: 0.01, 0.1 or 1."""
    over: Literal["vocabulary", "label", "label_term"] = "vocabulary"
    """`vocabulary`: KL(p || q) of what model p and base q predict. `label`: log p(y) - log q(y) of the token y that
    comes, as in the authors' script; its gradient is that of the likelihood, so that a weight of 1 leaves nothing to
    learn. `label_term`: p(y) (log p(y) - log q(y)), that token's term of the sum over the vocabulary."""


PLUGIN = Plugin(
    name="kl",
    version="1.0",
    summary="KL regularisation towards the base model, on the label token or over the whole vocabulary.",
    paper="arXiv:2405.14394",
    options=KlOptions,
)


@hookimpl(wrapper=True)
def loss_fn(arm: Arm) -> Generator[None, Loss, Loss]:
    """The inner loss, and `weight` times the divergence from the base on every token that it scores."""
    inner = yield
    options = arm.options(KlOptions)

    def divergence(model: Model, batch: Batch, base: Model) -> Any:
        if options.over == "vocabulary":
            return model.token_kl(batch, base)
        log_p = -model.token_nll(batch)
        log_ratio = log_p + base.token_nll(batch)
        return log_ratio if options.over == "label" else log_p.exp() * log_ratio

    def per_token(model: Model, batch: Batch, references: Mapping[str, Model]) -> Any:
        losses = inner.per_token(model, batch, references)
        return losses + options.weight * divergence(model, batch, references["base"])

    references = tuple(dict.fromkeys((*inner.references, "base")))
    return replace(inner, per_token=per_token, references=references)
