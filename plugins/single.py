"""One source alone, the first rival of DMT's paper (arXiv:2310.05492): `general only`, `math only`, `code only`."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Options, Plugin, Stage, UserError, hookimpl


class SingleOptions(Options):
    """Which source."""

    source: str = "general"
    """A role of the recipe's data, all of which is taken, or one dataset's name."""


PLUGIN = Plugin(
    name="single",
    version="1.0",
    summary="DMT's rival: one role or one dataset alone, in one stage.",
    paper="arXiv:2310.05492",
    options=SingleOptions,
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """All data of the role, or the dataset."""
    source = arm.options(SingleOptions).source
    names = [name for name, info in data.items() if source in (info.role, name)]
    if not names:
        known = dict.fromkeys([*(info.role for info in data.values()), *data])
        raise UserError(
            f"the recipe has neither a role nor a dataset {source!r}",
            f"single:source=NAME, with one of {', '.join(known) or '(no data)'}",
        )
    return [Stage("all", Mixture.of(*names))]
