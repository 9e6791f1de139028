"""Replay: a share of pretraining text beside what is taught, a baseline of DTM's paper (arXiv:2405.13432).

It wraps whatever strategy the arm has: every stage gains texts of the datasets in the role `pretraining`, tokenised
without a chat template and scored like responses.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from harness.api import PRETRAINING, Arm, DataInfo, Mixture, Options, Plugin, Share, Stage, beside, hookimpl, with_role


class ReplayOptions(Options):
    """How much is replayed."""

    ratio: Share = Fraction(1)
    """Texts for every example of the stage, of all datasets of texts together; each gives an equal part, rounded down
    to one at least. The paper: 1."""


PLUGIN = Plugin(
    name="replay",
    version="1.0",
    summary="Baseline: pretraining text is mixed into every stage, one text for every example.",
    paper="arXiv:2405.13432",
    options=ReplayOptions,
)


@hookimpl(wrapper=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner stages, each with `ratio` times as many texts as it has examples, alike from every dataset of texts."""
    stages = yield
    texts, ratio = with_role(data, PRETRAINING), arm.options(ReplayOptions).ratio
    replayed = [beside(name, ratio / len(texts)) for name in texts] if ratio else []
    return [replace(stage, mixture=Mixture.of(*stage.mixture.items, *replayed)) for stage in stages]
