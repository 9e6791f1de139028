"""Examples of a wanted ratio of prompt to response length, whatever trains on them.

The gain of instruction modelling grows with that ratio (Shi et al., NeurIPS 2024, arXiv:2405.14394): from 0.094 in LIMA
to 26.3 in the MMLU part of LESS. Of each dataset those examples are kept whose ratio is nearest to a target, on a
logarithmic scale, so that half and twice the target are equally far.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, log

from pydantic import Field

from harness.api import (
    Arm,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    Options,
    Plugin,
    Share,
    Stage,
    UserError,
    hookimpl,
    select,
)


class LengthRatioOptions(Options):
    """Which examples, and how many of each dataset."""

    target: float = Field(10.0, gt=0)
    """Characters of all prompts of an example over those of all its responses. The paper's figure: about 10."""
    share: Share = Fraction(1, 2)
    """How much of each dataset is kept: `floor(share n)` examples, at least one."""
    amount: int | None = Field(None, ge=1)
    """So many of each dataset instead."""
    role: str = ""
    """Role whose datasets are selected from, each by itself; none: all but text for pretraining."""


PLUGIN = Plugin(
    name="length_ratio",
    version="1.1",
    summary="Train on the examples nearest to a ratio of prompt to response length.",
    paper="arXiv:2405.14394",
    options=LengthRatioOptions,
)


@dataclass(frozen=True)
class NearestRatio(Curation):
    """The examples whose ratio is nearest to the target; of equally near ones the first."""

    target: float
    share: Fraction
    amount: int | None

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """In the order of the data; examples without a prompt are infinitely far."""
        wanted = max(1, int(self.share * len(examples))) if self.amount is None else self.amount
        if wanted > len(examples):
            raise UserError(f"length_ratio.amount is {wanted}, and there are {len(examples)} examples", "lower it")
        ratios = [ratio(example) for example in examples]
        order = sorted(range(len(examples)), key=lambda n: _distance(ratios[n], self.target))
        chosen = sorted(order[:wanted])
        tools.tell("mean ratio", {"of all": _mean(ratios), "of those kept": _mean([ratios[n] for n in chosen])})
        return {"all": [examples[n] for n in chosen]}


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The arm's stages, on the examples nearest to the target."""
    stages = yield
    options = arm.options(LengthRatioOptions)
    return select(stages, data, options.role, NearestRatio(options.target, options.share, options.amount))


def ratio(example: Example) -> float:
    """Characters of prompts over those of responses; infinite for empty responses."""
    lengths = dict.fromkeys(("system", "user", "assistant", "text"), 0)
    for message in example.messages:
        lengths[message.role] += len(message.content)
    prompt, response = lengths["system"] + lengths["user"], lengths["assistant"] + lengths["text"]
    return prompt / response if response else inf


def _distance(ratio: float, target: float) -> float:
    return abs(log(ratio / target)) if 0 < ratio < inf else inf


def _mean(ratios: Sequence[float]) -> float | None:
    """Of the finite ones."""
    finite = [ratio for ratio in ratios if ratio < inf]
    return sum(finite) / len(finite) if finite else None
