"""AlpaGasus Dolly 3k: the 2,996 Dolly examples that a judge rated best (Chen et al., 2023, arXiv:2307.08701).

Id alpagasus/dolly_3k, as chat messages; CC BY-SA 3.0, as Dolly itself.
"""

from collections.abc import Mapping

from harness.api import Arm, ChatColumns, DataSource, Hub, Plugin, hookimpl

PLUGIN = Plugin(
    name="dolly_3k",
    version="1.0",
    summary="general instructions written by people, filtered by a judge",
    paper="https://arxiv.org/abs/2307.08701",
)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """All of its conversations, each of one question and one answer."""
    return {
        "dolly_3k": DataSource(
            Hub("alpagasus/dolly_3k", files=("train.jsonl",)),
            ChatColumns(),
            licence="CC BY-SA 3.0",
            summary="general instructions, filtered by a judge",
        )
    }
