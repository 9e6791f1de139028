"""What a mixture's data is made of: from a portion or a sample down to datasets of the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.data import Answered, Curated, Data
from harness.api.stages import Stage


def walk(data: Data) -> Iterator[Data]:
    """The data, and all that it is made of."""
    yield data
    parents = data.parents if isinstance(data, Curated) else () if isinstance(data, str) else (data.parent,)
    for parent in parents:
        yield from walk(parent)


def curated(stage: Stage) -> list[Curated]:
    """All that is curated for a stage, always in the same order: a worker finds a curation again by its place."""
    return [node for item in stage.mixture.items for node in walk(item) if isinstance(node, Curated)]


def models_behind(data: Data) -> list[str]:
    """The models whose answers or likelihoods the data is made of."""
    asked = [node.model for node in walk(data) if isinstance(node, Answered | Curated)]
    return [model for model in asked if model is not None]
