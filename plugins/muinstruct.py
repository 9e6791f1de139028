"""muInstruct: instruction tuning for mathematics (EleutherAI, llemma 7B), its data and its question.

The question is what quality, quantity and diversity of the data are each worth. A hand-curated set (role `curated`) is
trained on together with examples that a model wrote: of mathematics alone (role `narrow`, Camel-AI) or of anything
(role `broad`, OpenHermes). Its four runs, as options:

    quantity=0                         muInstruct alone
    quantity=50000,diversity=0         with Camel-AI 50k
    quantity=50000,diversity=1         with OpenHermes 50k
    quantity=1000000,diversity=1       with OpenHermes 1M

Only answers are supervised, as by the default loss. The curated set is at EleutherAI/muInstruct, MIT licence; its parts
from Stack Exchange are CC BY-SA.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import pydantic

from harness.api import (
    Arm,
    DataInfo,
    DataSource,
    Hub,
    Mixture,
    Options,
    PairColumns,
    Plugin,
    Share,
    Stage,
    UserError,
    hookimpl,
    sample,
    with_role,
)


class MuinstructOptions(Options):
    """Three dimensions of the data, each by itself."""

    quality: Share = Fraction(1)
    """Share of the hand-curated examples that take part."""
    quantity: int = pydantic.Field(50_000, ge=0)
    """How many examples that a model wrote join them."""
    diversity: Share = Fraction(0)
    """Share of those that come from the broad set; the rest is of mathematics alone."""


PLUGIN = Plugin(
    name="muinstruct",
    version="1.1",
    summary="Hand-curated mathematics with a quantity of narrow or broad data; and the curated set itself.",
    paper="https://github.com/EleutherAI/math-lm",
    options=MuinstructOptions,
)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The training split of the curated set."""
    return {
        "muinstruct": DataSource(
            Hub("EleutherAI/muInstruct", files=("train.jsonl",)),
            PairColumns("input", "output"),
            licence="MIT; parts CC BY-SA",
            summary="mathematics questions with worked solutions",
        )
    }


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """One stage: a share of the curated data, and as many examples of each other kind as the options say."""
    options = arm.options(MuinstructOptions)
    broad = int(options.diversity * options.quantity)
    names = with_role(data, "curated") if options.quality else ()
    curated = names if options.quality == 1 else [sample(name, options.quality) for name in names]
    added = [
        sample(_only(with_role(data, role), role), amount=amount)
        for role, amount in (("narrow", options.quantity - broad), ("broad", broad))
        if amount
    ]
    return [Stage("mix", Mixture.of(*curated, *added))]


def _only(names: Sequence[str], role: str) -> str:
    if len(names) > 1:
        raise UserError(f"the role {role!r} has {len(names)} datasets, and muinstruct takes one", "leave one of them")
    return names[0]
