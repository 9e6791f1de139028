"""Sequential fine-tuning, a rival of DMT's paper (arXiv:2310.05492): one dataset after the other, general data last."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Plugin, Stage, hookimpl, with_role

PLUGIN = Plugin(
    name="sequential",
    version="1.0",
    summary="DMT's rival: each specialised set in the recipe's order, then the general data.",
    paper="arXiv:2310.05492",
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """One stage per specialised set (the paper: code, then math), then one for the general data."""
    general = Stage("general", Mixture.of(*with_role(data, "general")))
    return [*(Stage(name, Mixture.of(name)) for name in with_role(data, "specialist")), general]
