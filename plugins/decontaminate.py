"""Decontamination: leave out training examples that share a run of words with an item of the run's benchmarks.

The overlap of 13 words is that of GPT-3 (Brown et al., 2020, arXiv:2005.14165, appendix C). It cleans the data of
whatever strategy the arm has: `decontaminate,dmt`. The job's result names every example that was left out, with the
benchmark and the item.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pydantic

from harness.api import (
    Arm,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    Item,
    Options,
    Plugin,
    Stage,
    UserError,
    hookimpl,
    select,
)

_WORD = re.compile(r"\w+")


class DecontaminateOptions(Options):
    """What counts as an overlap."""

    n: int = pydantic.Field(13, ge=1)
    """Words in a row that an example and an item share, whatever their case and what stands between them."""
    shortest: int = pydantic.Field(8, ge=1)
    """An item's text of fewer than n words is looked for whole, if it has so many."""
    role: str = ""
    """Role whose datasets are cleaned; none: all but text for pretraining."""


PLUGIN = Plugin(
    name="decontaminate",
    version="1.1",
    summary="Training data without what overlaps with the run's benchmarks.",
    paper="arXiv:2005.14165",
    options=DecontaminateOptions,
)


@dataclass(frozen=True)
class Clean(Curation):
    """Examples that share no n words in a row with a benchmark's item."""

    needs: ClassVar = frozenset({"benchmarks"})
    n: int
    shortest: int

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """Tells of each example that is left out, under `overlaps`: `example`, `benchmark` and `item`.

        Raises UserError where no benchmark asks anything that is long enough to be looked for.
        """
        benchmarks = tools.benchmarks()
        known = self._runs_of(benchmarks)
        if not known:
            raise UserError(
                f"nothing in {', '.join(benchmarks) or 'no benchmark'} has {min(self.n, self.shortest)} words in a row",
                "lower decontaminate.shortest, or leave decontaminate away",
            )
        clean, overlaps = list[Example](), list[dict[str, str]]()
        for example in examples:
            texts = [_words(text) for text in (*(turn.content for turn in example.messages), example.rejected or "")]
            runs = (run for length, of in known.items() for words in texts for run in _runs(words, length) if run in of)
            if (shared := next(runs, None)) is None:
                clean.append(example)
            else:
                benchmark, item = known[len(shared.split())][shared]
                overlaps.append({"example": example.id, "benchmark": benchmark, "item": item})
        tools.tell("overlaps", overlaps)
        return {"all": clean}

    def _runs_of(self, benchmarks: Mapping[str, Sequence[Item]]) -> dict[int, dict[str, tuple[str, str]]]:
        """By length, the runs of words that no example may have, each with the first benchmark and item that has it."""
        known: dict[int, dict[str, tuple[str, str]]] = {}
        for benchmark, items in benchmarks.items():
            for id_, words in [(item.id, _words(text)) for item in items for text in _texts(item.content)]:
                length = min(self.n, len(words))
                if length >= min(self.n, self.shortest):
                    for run in _runs(words, length):
                        known.setdefault(length, {}).setdefault(run, (benchmark, id_))
        return known


def _texts(value: Any) -> Iterator[str]:
    """All texts anywhere in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner strategy, on clean data."""
    stages = yield
    options = arm.options(DecontaminateOptions)
    return select(stages, data, options.role, Clean(options.n, options.shortest))
