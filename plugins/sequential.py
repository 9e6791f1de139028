"""Sequential fine-tuning, a rival of DMT's paper (arXiv:2310.05492): one dataset after the other, general data last."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Options, Plugin, Stage, UserError, hookimpl, with_role


class SequentialOptions(Options):
    """What is learnt after what."""

    order: tuple[str, ...] = ()
    """Names of the specialised datasets, first to last; the paper: code, then math. Empty: the recipe's order."""


PLUGIN = Plugin(
    name="sequential",
    version="1.0",
    summary="DMT's rival: each specialised set in turn, then the general data.",
    paper="arXiv:2310.05492",
    options=SequentialOptions,
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """One stage per specialised set, then one for the general data."""
    specialist, general = with_role(data, "specialist"), with_role(data, "general")
    order = arm.options(SequentialOptions).order or specialist
    if sorted(order) != sorted(specialist):
        raise UserError(
            f"sequential.order names {', '.join(order)}, and the specialised datasets are {', '.join(specialist)}",
            "name each of them once",
        )
    return [*(Stage(name, Mixture.of(name)) for name in order), Stage("general", Mixture.of(*general))]
