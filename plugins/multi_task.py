"""Multi-task fine-tuning, the first rival of DMT's paper (arXiv:2310.05492): all data in one stage."""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataInfo, Mixture, Plugin, Stage, hookimpl, with_role

PLUGIN = Plugin(
    name="multi_task",
    version="1.0",
    summary="DMT's rival: specialised and general data in one stage.",
    paper="arXiv:2310.05492",
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """Specialised and general data together."""
    return [Stage("all", Mixture.of(*with_role(data, "specialist", "general")))]
