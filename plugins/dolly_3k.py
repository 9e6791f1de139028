"""AlpaGasus Dolly 3k: the 2,996 Dolly examples that a judge rated best (Chen et al., 2023, arXiv:2307.08701).

As chat messages in the wording of InstructionModelling (arXiv:2405.14394), whose file this is; CC BY-SA 3.0, as Dolly
itself.
"""

from collections.abc import Mapping

from harness.api import Arm, ChatColumns, DataSource, Plugin, Upstream, hookimpl

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
            Upstream(
                "alpagasus/dolly_3k",
                files=("alpagasus_3k_dolly.jsonl",),
                revision="4396b21e482b8c6c0db57b0dc31c00acd5c103bb",
                mirror=("train.jsonl",),
                url="https://raw.githubusercontent.com/ZhengxiangShi/InstructionModelling/{revision}/data/",
                sha256=("28b89ba107e6776179515990d12a231b1a209ee360e21f365341033d8fad9f23",),
                licence="cc-by-sa-3.0",
            ),
            ChatColumns(),
            licence="CC BY-SA 3.0",
            summary="general instructions, filtered by a judge",
        )
    }
