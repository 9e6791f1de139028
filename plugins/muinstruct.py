"""muInstruct: 1,600 mathematics questions with worked solutions (Azerbayev et al., 2023, arXiv:2310.10631).

Hub id EleutherAI/muInstruct, MIT licence; the parts from Stack Exchange are CC BY-SA.
"""

from collections.abc import Mapping

from harness.api import Arm, DataSource, Hub, PairColumns, Plugin, hookimpl

PLUGIN = Plugin(
    name="muinstruct",
    version="1.0",
    summary="mathematics questions with worked solutions",
    paper="https://arxiv.org/abs/2310.10631",
)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The training split."""
    return {
        "muinstruct": DataSource(
            Hub("EleutherAI/muInstruct", files=("train.jsonl",)),
            PairColumns("input", "output"),
            licence="MIT; parts CC BY-SA",
            summary="mathematics questions with worked solutions",
        )
    }
