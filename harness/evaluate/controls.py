"""Controls of judged benchmarks: what a judge may have been won over by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.api import near_copies
from harness.evaluate.samples import Sample

MOST = 0.5
"""Of a model that gives one answer to more than this share of its items, a judge's scores say little."""


def told_alike(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, with those marked that have one and the same answer, where these are more than half of all."""
    alike = near_copies(["\n".join(sample.texts) for sample in samples])
    most = sum(alike) > max(1, MOST * len(alike))
    return [replace(sample, alike=most and same) for sample, same in zip(samples, alike, strict=True)]
