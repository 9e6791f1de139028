"""GSM8K: grade-school word problems, 7,473 to train on and 1,319 to test on (Cobbe et al., 2021, arXiv:2110.14168).

Hub id openai/gsm8k, MIT licence. The mirror holds the authors' own `train.jsonl` and `test.jsonl`.
"""

from collections.abc import Mapping, Sequence

from harness.api import Arm, DataSource, Evaluator, Hub, LmEvalTask, PairColumns, Plugin, hookimpl

PLUGIN = Plugin(
    name="gsm8k", version="1.0", summary="Grade-school mathematics in words.", paper="https://arxiv.org/abs/2110.14168"
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


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """Zero-shot through the chat template; the score is the last number's, the one after `####` is reported beside."""
    test = Hub("openai/gsm8k", files=("main/test-00000-of-00001.parquet",), mirror=("test.jsonl",))
    task = LmEvalTask("gsm8k_chat", metric="exact_match", filter="flexible-extract", data=(test,))
    return [Evaluator("gsm8k", protocol="zero-shot-chat-1", task=task, summary="grade-school word problems")]
