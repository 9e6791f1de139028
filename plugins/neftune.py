"""NEFTune: uniform noise on the input embeddings while training (Jain et al., 2023, arXiv:2310.05914).

It wraps whatever loss the arm has: `neftune`, `neftune,im` and `neftune,im,dmt` all work.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Literal

import pydantic

from harness.api import Arm, Batch, Loss, Options, Plugin, hookimpl


class NeftuneOptions(Options):
    """How loud the noise is."""

    alpha: float = pydantic.Field(5.0, gt=0)
    """The noise is uniform up to alpha / sqrt(L d), with d the width of an embedding. The paper: 5, 10 or 15."""
    variant: Literal["sample", "padded"] = "sample"
    """What L is. `sample`: the example's own tokens, as in the paper. `padded`: those of the longest example of the
    optimiser step, as where a whole batch is padded and noised together."""


PLUGIN = Plugin(
    name="neftune",
    version="1.0",
    summary="NEFTune: uniform noise on the input embeddings while training.",
    paper="arXiv:2310.05914",
    options=NeftuneOptions,
)


@hookimpl(wrapper=True)
def loss_fn(arm: Arm) -> Generator[None, Loss, Loss]:
    """The inner loss, computed on noisy embeddings."""
    inner = yield
    options = arm.options(NeftuneOptions)

    def embed(embeddings: Any, batch: Batch) -> Any:
        if inner.embed is not None:
            embeddings = inner.embed(embeddings, batch)
        width = embeddings.shape[-1]
        noise = batch.uniform(width)
        if options.variant == "sample":
            noise *= options.alpha * (batch.example_lengths.clamp(min=1) * width).rsqrt()[..., None]
        else:
            noise *= options.alpha / (batch.longest * width) ** 0.5
        return embeddings + noise.to(embeddings.dtype)

    return replace(inner, embed=embed)
