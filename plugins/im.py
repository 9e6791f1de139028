"""Instruction modelling: the prompt is scored as well as the response (Shi et al., 2024, arXiv:2405.14394)."""

from fractions import Fraction
from typing import Literal

import pydantic

from harness.api import Arm, Loss, Options, Part, Plugin, Share, hookimpl, token_loss


class ImOptions(Options):
    """How much of the conversation besides the response is scored."""

    variant: Literal["paper", "released"] = "paper"
    """`paper` scores prompt and response. `released` is what the authors' script computes: a typo in its header list
    leaves every template token scored but those of the header at position 0."""
    prompt_weight: Share = Fraction(1)
    """Weight of a prompt token in the paper's variant: 1 is instruction modelling, 0 is plain SFT."""

    @pydantic.model_validator(mode="after")
    def _released_has_no_weight(self) -> "ImOptions":
        if self.variant == "released" and self.prompt_weight != 1:
            raise ValueError("prompt_weight belongs to the paper's variant; the released one scores every prompt token")
        return self


PLUGIN = Plugin(
    name="im",
    version="1.0",
    summary="Instruction modelling: loss over instructions as well as responses.",
    paper="arXiv:2405.14394",
    options=ImOptions,
)


@hookimpl
def loss_fn(arm: Arm) -> Loss:
    """Weight 1 on response and prompt tokens, 0 on template tokens."""
    options = arm.options(ImOptions)
    if options.variant == "released":
        return token_loss(
            lambda batch: batch.is_part(Part.PROMPT, Part.RESPONSE, Part.TEMPLATE) - batch.leads(Part.TEMPLATE)
        )
    prompt = float(options.prompt_weight)
    return token_loss(lambda batch: batch.is_part(Part.RESPONSE) + prompt * batch.is_part(Part.PROMPT))
