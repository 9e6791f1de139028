"""Instruction data that many papers share, each from where its authors publish it.

Nobody's rows are changed: those that are no conversation are left out where a set is known to hold some.
"""

from collections.abc import Mapping

from harness.api import AlpacaColumns, Arm, ChatColumns, DataSource, Hub, PairColumns, Plugin, hookimpl

PLUGIN = Plugin(name="instructions", version="1.0", summary="Instruction data that many papers share.")

SETS = {
    "lima": DataSource(
        Hub("GAIR/lima", ("train.jsonl",), "68958e98267f5fb4a52a03ebcdae4ae59213fa7c"),
        ChatColumns("conversations"),
        licence="CC BY-NC-SA, or stricter where its source is; gated",
        summary="1,030 curated examples, 30 of them dialogues (arXiv:2305.11206)",
    ),
    "alpaca": DataSource(
        Hub(
            "tatsu-lab/alpaca",
            ("data/train-00000-of-00001-a09b74b3ef9c3b56.parquet",),
            "dce01c9b08f87459cf36a430d809084718273017",
        ),
        AlpacaColumns(),
        licence="CC BY-NC 4.0",
        summary="52,002 instructions and answers written by text-davinci-003",
    ),
    "dolly": DataSource(
        Hub(
            "databricks/databricks-dolly-15k",
            ("databricks-dolly-15k.jsonl",),
            "bdd27f4d94b9c1f951818a7da7fd7aeea5dbff1a",
        ),
        AlpacaColumns("instruction", "context", "response"),
        licence="CC BY-SA 3.0",
        summary="15,011 instructions and answers written by Databricks' employees",
    ),
    "code_alpaca_20k": DataSource(
        Hub("sahil2801/CodeAlpaca-20k", ("code_alpaca_20k.json",), "152bb5e9a29651266b018106053980070a0521a1"),
        AlpacaColumns(),
        licence="CC BY-NC 4.0",
        summary="20,022 instructions and programs written by text-davinci-003",
    ),
    "wizardlm": DataSource(
        Hub(
            "WizardLMTeam/WizardLM_evol_instruct_V2_196k",
            ("WizardLM_evol_instruct_V2_143k.json",),
            "8a7d15a83028b5c93915677704f492839e2675f6",
        ),
        ChatColumns("conversations"),
        unfit="drop",
        licence="MIT",
        summary="143,000 instructions made harder step by step (arXiv:2304.12244); those that its authors may publish",
    ),
    "sharegpt": DataSource(
        Hub(
            "anon8231489123/ShareGPT_Vicuna_unfiltered",
            ("ShareGPT_V3_unfiltered_cleaned_split.json",),
            "192ab2185289094fc556ec8ce5ce1e8e587154ca",
        ),
        ChatColumns("conversations"),
        unfit="drop",  # it is split at 2,048 tokens: many a part begins with the assistant's turn, or has none
        licence="Apache-2.0 as its card says; answers of ChatGPT",
        summary="dialogues that people had with ChatGPT, split where they were long",
    ),
    "openhermes": DataSource(
        Hub("teknium/OpenHermes-2.5", ("openhermes2_5.json",), "b82037821055c377bed0d495e72e46de3bc72e84"),
        ChatColumns("conversations"),
        unfit="drop",
        licence="none named; its parts have their own",
        summary="1,001,551 instructions of many sources, answered mostly by GPT-4",
    ),
    "camel_math": DataSource(
        Hub("camel-ai/math", ("math.zip",), "c1b9a23cfbb77b34668df5705b6e8832a06046c1"),
        PairColumns("message_1", "message_2"),
        licence="CC BY-NC 4.0",
        summary="50,000 problems of 25 topics, posed and solved by GPT-4 (arXiv:2303.17760)",
    ),
}


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """All of them, by name."""
    return SETS
