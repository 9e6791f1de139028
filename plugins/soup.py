"""Greedy soup (Wortsman et al., 2022, arXiv:2203.05482, recipe 1): a model joins the mean only where that helps.

The experts are ranked by their loss on held-out data. Beginning with the best, each in turn joins the mean of those
kept so far, and stays if the mean's held-out loss falls. The share that is held out is taken from the training data of
all stages. The uniform soup of all models is `average`.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pydantic import Field

from harness.api import (
    PRETRAINING,
    Arm,
    Average,
    DataInfo,
    HeldOutLoss,
    Merger,
    Options,
    Plugin,
    Share,
    Stage,
    UserError,
    experts,
    held_out,
    hold_out,
    hookimpl,
    without_role,
)


class SoupOptions(Options):
    """What the models are chosen by."""

    held_out: Share = Field(Fraction(1, 20))
    """Share of each dataset that no stage trains on, and that candidates are scored on: the mean loss of its response
    tokens. The paper scores by accuracy on held-out data; a loss has no ties and needs no task."""


PLUGIN = Plugin(
    name="soup",
    version="1.0",
    summary="Merge experts: the mean of those that lower its loss on held-out data, in a greedy order.",
    paper="arXiv:2203.05482",
    options=SoupOptions,
)


@dataclass(frozen=True)
class GreedySoup(Average):
    """The mean of the members of the greedy soup."""

    def members(self, loss: HeldOutLoss) -> Sequence[str]:
        """Recipe 1, but that a model which changes nothing does not join."""
        best, *others = sorted(self.stages, key=lambda stage: loss([stage]))
        soup, lowest = [best], loss([best])
        for stage in others:
            tried = loss([*soup, stage])
            if tried < lowest:
                soup, lowest = [*soup, stage], tried
        return soup


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner stages, without what is held out."""
    stages = yield
    share = arm.options(SoupOptions).held_out
    if not 0 < share < 1:
        raise UserError(f"soup.held_out is {share}", "hold out some of the data and train on some, 1/20")
    return hold_out(stages, without_role(data, PRETRAINING), share)


@hookimpl
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:
    """The greedy soup of the stages that nothing goes on from."""
    return GreedySoup(experts(stages), held_out=held_out(stages))
