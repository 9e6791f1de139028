"""TÜLU V2: eleven sets in one mixture, and those of its parts that papers train on alone (arXiv:2311.10702)."""

from collections.abc import Mapping

from harness.api import Arm, ChatColumns, DataSource, Hub, Plugin, hookimpl

PLUGIN = Plugin(
    name="tulu",
    version="1.0",
    summary="The mixture TÜLU V2 and parts of it.",
    paper="arXiv:2311.10702",
)


def _part(dataset: str, licence: str, summary: str) -> DataSource:
    return DataSource(
        Hub("allenai/tulu-v2-sft-mixture", ("data/train-*.parquet",), "6248b175d2ccb5ec7c4aeb22e6d8ee3b21b2c752"),
        ChatColumns(),
        only={"dataset": dataset},
        unfit="drop",
        licence=licence,
        summary=summary,
    )


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The mixture and parts of it, told by the column `dataset`."""
    return {
        "tulu": _part("*", "ODC-BY; its parts have their own", "326,154 conversations of eleven sets"),
        "science_literature": _part(
            "science.*", "ODC-BY", "7,544 tasks on scientific papers: long instructions, short answers"
        ),
        "wizardlm_30k": _part("wizardlm", "ODC-BY; none named for the part", "30,000 of WizardLM's instructions"),
    }
