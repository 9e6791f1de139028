"""RedPajama: a sample of a billion tokens of pretraining text, each of its sources by itself and all together.

As plain text, for methods that replay what a model was pretrained on.
"""

from collections.abc import Mapping

from harness.api import Arm, DataSource, Hub, Plugin, TextColumns, hookimpl

PLUGIN = Plugin(
    name="redpajama",
    version="1.0",
    summary="A sample of RedPajama's pretraining text.",
    paper="https://github.com/togethercomputer/RedPajama-Data",
)

LICENCES = {
    "arxiv": "arXiv's terms of use",
    "book": "those of The Pile's and PG-19's books",
    "c4": "ODC-BY",
    "cc": "Common Crawl's terms of use",
    "github": "MIT, BSD or Apache",
    "stackexchange": "CC BY-SA",
    "wikipedia": "CC BY-SA",
}
FILES = {"cc": "cc_*_sample.jsonl"}


def _part(files: str, licence: str, summary: str) -> DataSource:
    return DataSource(
        Hub("togethercomputer/RedPajama-Data-1T-Sample", (files,), "776f0cf8399524b53d817f4613cc75c6cd9c5a3b"),
        TextColumns(),
        licence=licence,
        summary=summary,
    )


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """All of it, and each of its sources."""
    parts = {
        name: _part(FILES.get(name, f"{name}_sample.jsonl"), licence, f"its texts of {name}")
        for name, licence in LICENCES.items()
    }
    return {"redpajama": _part("*_sample.jsonl", "those of its sources", "pretraining text of seven sources"), **parts}
