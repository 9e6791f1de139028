"""GSM8K: grade-school word problems, 7,473 for training (Cobbe et al., 2021, arXiv:2110.14168).

Hub id openai/gsm8k, MIT licence. The mirror holds the authors' own `train.jsonl`.
"""

from collections.abc import Mapping

from harness.api import Arm, DataSource, Hub, PairColumns, Plugin, hookimpl

PLUGIN = Plugin(
    name="gsm8k", version="1.0", summary="grade-school mathematics in words", paper="https://arxiv.org/abs/2110.14168"
)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The training questions, each with its worked solution ending in `#### answer`."""
    return {
        "gsm8k": DataSource(
            Hub("openai/gsm8k", files=("main/train-00000-of-00001.parquet",), mirror=("train.jsonl",)),
            PairColumns("question", "answer"),
            licence="MIT",
            summary="grade-school word problems with worked solutions",
        )
    }
