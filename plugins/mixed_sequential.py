"""Mixed sequential fine-tuning, a rival of DMT's paper (arXiv:2310.05492): DMT without replay."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Plugin, Stage, hookimpl, with_role

PLUGIN = Plugin(
    name="mixed_sequential",
    version="1.0",
    summary="DMT's rival: specialised data together, then general data alone (DMT with k = 0).",
    paper="arXiv:2310.05492",
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """Specialised data together, then general data."""
    return [
        Stage("specialist", Mixture.of(*with_role(data, "specialist"))),
        Stage("general", Mixture.of(*with_role(data, "general"))),
    ]
