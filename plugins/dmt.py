"""Dual-stage mixed fine-tuning (Dong et al., 2024, arXiv:2310.05492).

Stage 1 trains on all specialised data together; stage 2 goes on from it with all general data and a small share `k`
of each specialised set, so that what was learnt is not forgotten. The optimiser starts anew in stage 2.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from harness.api import Arm, DataInfo, Mixture, Options, Plugin, Share, Stage, hookimpl, sample, with_role


class DmtOptions(Options):
    """The replayed share of the specialised data."""

    k: Share = Fraction(1, 256)
    """`floor(k n)` examples of each specialised set join stage 2, at least one when k > 0. The paper: 1 to 1/256, 0."""


PLUGIN = Plugin(
    name="dmt",
    version="1.0",
    summary="Dual-stage mixed fine-tuning: specialised data first, then general data with a replayed share k.",
    paper="arXiv:2310.05492",
    options=DmtOptions,
)


@hookimpl
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:
    """Specialised data together, then general data with `k` of each specialised set."""
    k = arm.options(DmtOptions).k
    specialist, general = with_role(data, "specialist"), with_role(data, "general")
    replay = [sample(name, k) for name in specialist] if k else []
    return [Stage("specialist", Mixture.of(*specialist)), Stage("general", Mixture.of(*general, *replay))]
