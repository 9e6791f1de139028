"""Sets that a method picked out of larger ones, as its authors or those who trained on them publish them."""

from collections.abc import Mapping

from harness.api import AlpacaColumns, Arm, ChatColumns, DataSource, Hub, Plugin, Upstream, hookimpl

PLUGIN = Plugin(name="picked", version="1.0", summary="Sets that AlpaGasus, LESS and Phased SFT picked or scored.")


def _less(target: str) -> DataSource:
    """The twentieth of FLAN, CoT, Dolly and Open Assistant nearest to a benchmark's gradients (arXiv:2402.04333)."""
    name = f"{target}_adam_sim_trainp0.05_seed3_p0.05.jsonl"
    return DataSource(
        Hub("princeton-nlp/less_data", ("less-data.zip",), members=(name, f"*/{name}")),
        ChatColumns(),
        licence="none named; its sources have their own",
        summary=f"13,533 examples that LESS picks for {target} out of FLAN, CoT, Dolly and Open Assistant",
    )


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """AlpaGasus' (arXiv:2307.08701), LESS' and the scored rows of Phased SFT (arXiv:2406.04371)."""
    return {
        "alpaca_5k": DataSource(
            Upstream(
                "alpagasus/alpaca_5k",
                files=("alpagasus_claude_t45_alpaca.jsonl",),
                revision="4396b21e482b8c6c0db57b0dc31c00acd5c103bb",
                mirror=("train.jsonl",),
                url="https://raw.githubusercontent.com/ZhengxiangShi/InstructionModelling/{revision}/data/",
                licence="cc-by-nc-4.0",
            ),
            ChatColumns(),
            licence="CC BY-NC 4.0",
            summary="5,305 examples of Alpaca that Claude rated 4.5 or better, in the wording of InstructionModelling",
        ),
        "dolly_9k": DataSource(
            Upstream(
                "alpagasus/dolly_9k",
                files=("chatgpt_9k.json",),
                revision="099cddcaaa184fe93eb14f6308a4adea5b98ce40",
                mirror=("train.json",),
                url="https://raw.githubusercontent.com/gpt4life/alpagasus/{revision}/data/filtered/",
                licence="cc-by-nc-4.0",
            ),
            AlpacaColumns(),
            licence="CC BY-NC 4.0",
            summary="9,229 examples that ChatGPT rated 4.5 or better; of Alpaca, whatever papers call them",
        ),
        "less_mmlu_chat": _less("mmlu-chat"),
        "less_tydiqa": _less("tydiqa"),
        "less_bbh_icl": _less("bbh-icl"),
        "alpaca_scored": DataSource(
            Upstream(
                "xubuvd/PhasedSFT",
                files=("en-alpaca52k-stage3.jsonl",),
                revision="9a7e0fc0938b91018dc079776e839516d384a23e",
                url="https://raw.githubusercontent.com/xubuvd/PhasedSFT/{revision}/Alpaca-scored/",
                sha256=("6e825519fe10097cb9a560d9f5f0133be91a04dc0dfa5a1e79588458babe264f",),
                licence="cc-by-nc-4.0",
            ),
            ChatColumns("data"),
            licence="CC BY-NC 4.0",
            summary="6,889 examples of Alpaca that GPT-4 calls difficult, each with its `score`, 1 to 5",
        ),
    }
