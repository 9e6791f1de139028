"""Scored samples: reading them, what of them may be published, and the aggregates that follow from them.

Every number of a row is computed here, both when the row is made and when a stranger checks it.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from harness.aggregates import total, weighted_mean
from harness.api import Total
from harness.board.intervals import Scored
from harness.canonical import canonical, utf8
from harness.errors import Failure

PUBLISHED = (
    "id",
    "doc_sha256",
    "prompt_sha256",
    "response",
    "finish",
    "prompt_cut",
    "extracted",
    "scores",
    "weights",
    "outcome",
    "alike",
)
"""Fields of a sample that are ours to publish: ids, hashes, what the model wrote and what it scored. Prompts and
targets belong to the benchmark's authors and are joined again from the data."""

Sample = Mapping[str, Any]

Samples = Mapping[tuple[str, int], Sequence[Sample]]
"""(benchmark, seed) to the evaluation's samples."""


class Aggregate(pydantic.BaseModel):
    """What follows from the samples of one evaluation."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    score: float | None
    """Mean over the scored items, or their total; None where the apparatus scored none, or too few for a total."""
    n_expected: int = pydantic.Field(ge=0)
    n_scored: int = pydantic.Field(ge=0)
    n_missing: int = pydantic.Field(ge=0)
    """Items that the apparatus failed to score. What the model got wrong is scored, and is not missing."""
    outcomes: dict[str, int]
    """How the items ended, by kind."""
    metrics: dict[str, float]
    """Mean of every number of the benchmark over the items that have it; the score itself as above. What a task scores
    in other shapes (lists, for corpus-level metrics) is not a mean and is left out."""
    prompts_cut: int = pydantic.Field(ge=0)
    """Prompts that did not fit the context and lost tokens."""
    stopped_by_length: int = pydantic.Field(ge=0)
    """Answers cut off by the limit on new tokens."""
    alike: int = pydantic.Field(0, ge=0, exclude_if=operator.not_)
    """Items of a judged benchmark with one and the same answer, where they are more than half."""
    bounded: bool = pydantic.Field(default=True, exclude_if=bool)
    """No item of a mean has left 0 to 1, nor has a total."""


def read_samples(path: Path) -> list[Sample]:
    """The samples of a JSONL file, in its order. Raises Failure naming the file and the line that is not one."""
    samples: dict[tuple[str, str], Sample] = {}
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", "evaluate again") from error
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            sample = _sample(line)
            item = str(sample["id"]), str(sample["doc_sha256"])
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Failure(
                f"{path}:{number} is not a sample: {error!r}", "the file is damaged; evaluate again"
            ) from None
        if item in samples:
            raise Failure(f"{path}:{number} holds item {item[0]} a second time", "the file is damaged; evaluate again")
        samples[item] = sample
    return list(samples.values())


def _sample(line: bytes) -> Sample:
    """A line's sample. Raises what `read_samples` puts into words, also for numbers that no mean can be made of."""
    sample: Sample = _DECODER.decode(line.decode(errors="surrogatepass"))
    scores, weights = sample["scores"] or {}, sample.get("weights") or {}
    for number in (*scores.values(), *weights.values()):
        if isinstance(number, int):
            _finite(number)  # JSON's whole numbers are of any length
    for name, weight in weights.items():
        if not isinstance(weight, int | float) or weight < 0:
            raise ValueError(f"the weight of {name} is {weight!r}")
    return sample


def _finite(number: str | int) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no finite number")
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def samples_file(leaderboards: Path, sha256: str) -> Path:
    """Where published samples of that digest lie."""
    return leaderboards / "samples" / f"{sha256}.jsonl"


def publishable(samples: Iterable[Sample]) -> bytes:
    """The samples as they are published: canonical JSON lines with the fields of `PUBLISHED`, sorted by id."""
    kept = [{name: sample[name] for name in PUBLISHED if name in sample} for sample in samples]
    kept.sort(key=lambda sample: (str(sample["id"]), str(sample["doc_sha256"])))
    return utf8("".join(canonical(sample) + "\n" for sample in kept))


def publishable_digest(samples: Iterable[Sample]) -> str:
    """SHA-256 of `publishable`: the name of the published file, and what a row says about its samples."""
    return hashlib.sha256(publishable(samples)).hexdigest()


def scores_by_item(samples: Iterable[Sample], score_name: str) -> dict[tuple[str, str], Scored]:
    """(id, content hash) to score and weight, over the items that were scored."""
    return {
        (str(sample["id"]), str(sample["doc_sha256"])): score
        for sample in samples
        if (score := _number(sample, score_name)) is not None
    }


def aggregate(samples: Sequence[Sample], score_name: str, n_expected: int, rule: Total | None = None) -> Aggregate:
    """Everything a row says about one evaluation. Items that were expected and are not in the file are missing.

    Raises Failure where there are more samples than items: so missing ones could be hidden.
    """
    if len(samples) > n_expected:
        raise Failure(f"there are {len(samples)} samples of {n_expected} items", "evaluate again")
    named: dict[str, list[Scored]] = {}
    for sample in samples:
        for name in sample["scores"] or {}:
            if (number := _number(sample, name)) is not None:
                named.setdefault(name, []).append(number)
    metrics = {name: mean for name, of in sorted(named.items()) if (mean := weighted_mean(of)) is not None}
    scored = scores_by_item(samples, score_name)
    score, values = metrics.pop(score_name, None), [one.value for one in scored.values()]
    if rule is not None:
        points = {item: one.value for (item, _), one in scored.items()}
        score = total(points, n_expected, rule.out_of, rule.drop_lowest_of)
        values = [] if score is None else [score]
    return Aggregate(
        score=score,
        n_expected=n_expected,
        n_scored=len(scored),
        n_missing=n_expected - len(scored),
        outcomes=dict(sorted(Counter(str(sample.get("outcome")) for sample in samples).items())),
        metrics=metrics if score is None else dict(sorted({**metrics, score_name: score}.items())),
        prompts_cut=sum(bool(sample.get("prompt_cut")) for sample in samples),
        stopped_by_length=sum(sample.get("finish") == "length" for sample in samples),
        alike=sum(bool(sample.get("alike")) for sample in samples),
        bounded=all(0 <= value <= 1 for value in values),
    )


def _number(sample: Sample, name: str) -> Scored | None:
    """A score with its weight; None where the sample has none, or one in another shape."""
    value = (sample["scores"] or {}).get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return Scored(float(value), float((sample.get("weights") or {}).get(name, 1)))
