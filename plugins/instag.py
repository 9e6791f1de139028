"""InsTag: examples chosen by open-set tags of what they ask (Lu et al., 2023, arXiv:2308.07074).

Two uses of the tags, one after the other: a filter by pattern, as in DMT's ablation (arXiv:2310.05492), which leaves
general examples about code or mathematics out; and complexity-first diverse selection. The tags are a column of the
data, or the judge's, in our own words. It chooses for whatever strategy the arm has: `instag,dmt`.
"""

import json
import re
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pydantic

from harness.api import (
    Arm,
    Curation,
    CurationTools,
    DataInfo,
    Example,
    JudgeReply,
    Options,
    Plugin,
    Stage,
    UserError,
    ask_about,
    cells,
    hookimpl,
    select,
)

QUESTION = (
    "You are shown a conversation. Which tags describe everything that the user wants of the assistant: tasks, topics, "
    "skills, languages, formats? Reply with a JSON array of short tags and nothing else, such as "
    '["spelling", "letter writing"].'
)


class InstagOptions(Options):
    """Which tags stay, and how many examples."""

    drop: str = "code|math"
    """Examples with a tag in which this regular expression is found are left out; empty: none."""
    keep: str = ""
    """Only examples with a tag in which this is found stay; empty: all."""
    amount: int | None = pydantic.Field(None, ge=1)
    """At most so many of each dataset, by complexity-first diverse selection; none: all. The paper: 6,000."""
    rarest: int = pydantic.Field(1, ge=1)
    """Tags that fewer examples have do not count in this selection. The paper: 20."""
    column: str = ""
    """Column of the tags: a list, or text with commas between them; none: the recipe's judge tags."""
    role: str = "general"
    """Role whose datasets are chosen from, each by itself; empty: all but text for pretraining."""

    @pydantic.field_validator("drop", "keep")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value


PLUGIN = Plugin(
    name="instag",
    version="1.1",
    summary="InsTag: examples filtered by their tags, or chosen to have many and different ones.",
    paper="arXiv:2308.07074",
    options=InstagOptions,
)


@dataclass(frozen=True)
class Tagged(Curation):
    """Examples by their tags; one that the judge gives none in a usable form is left out."""

    drop: str
    keep: str
    amount: int | None
    rarest: int
    column: str

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """In the dataset's order, each with its tags as `tags` in its meta."""
        found = self._tags(examples, tools)
        counts = Counter(tag for tags in found if tags for tag in tags)
        tools.tell("tags", dict(counts.most_common(100)))
        staying = {n: tags for n, tags in enumerate(found) if tags is not None and self._stays(tags)}
        common = {n: {tag for tag in tags if counts[tag] >= self.rarest} for n, tags in staying.items()}
        chosen = staying if self.amount is None else complex_and_diverse(common, self.amount)
        return {"all": [_with_tags(examples[n], staying[n]) for n in sorted(chosen)]}

    def _tags(self, examples: Sequence[Example], tools: CurationTools) -> list[set[str] | None]:
        if not self.column:
            return ask_about(examples, tools, QUESTION, tags_in, "no tags")
        return [_tags_of(cell, e.id) for e, cell in zip(examples, cells(examples, self.column), strict=True)]

    def _stays(self, tags: set[str]) -> bool:
        kept = not self.keep or any(re.search(self.keep, tag) for tag in tags)
        return kept and not (self.drop and any(re.search(self.drop, tag) for tag in tags))


@dataclass(frozen=True)
class JudgeTagged(Tagged):
    """The same, tagged by the judge."""

    needs: ClassVar = frozenset({"judge"})


def complex_and_diverse(tags: Mapping[int, set[str]], amount: int) -> list[int]:
    """At most `amount` examples: round after round, by falling number of tags, each that adds a tag to the round's.

    The paper's algorithm 1; examples with equally many tags keep their order, and one without any is never taken.
    """
    waiting, taken = sorted(tags, key=lambda n: -len(tags[n])), list[int]()
    while len(taken) < amount:
        seen: set[str] = set()
        before, left = len(taken), list[int]()
        for n in waiting:
            if len(taken) < amount and tags[n] - seen:
                seen |= tags[n]
                taken.append(n)
            else:
                left.append(n)
        if len(taken) == before:
            break
        waiting = left
    return taken


def tags_in(reply: JudgeReply) -> set[str] | None:
    """The tags of a reply; None where it holds no JSON array of texts."""
    start, end = reply.text.find("["), reply.text.rfind("]")
    try:
        found = json.loads(reply.text[start : end + 1]) if 0 <= start < end else None
    except ValueError:
        return None
    return _plain(found) if isinstance(found, list) and all(isinstance(tag, str) for tag in found) else None


def _tags_of(cell: Any, example: str) -> set[str]:
    found = cell.split(",") if isinstance(cell, str) else cell
    if cell is None or not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        raise UserError(f"example {example}: {str(cell)[:40]!r} are no tags", "a list of texts, or text with commas")
    return _plain(found)


def _plain(tags: Sequence[str]) -> set[str]:
    return {tag for tag in (" ".join(text.casefold().split()) for text in tags) if tag}


def _with_tags(example: Example, tags: set[str]) -> Example:
    return replace(example, meta={**example.meta, "tags": sorted(tags)})


@hookimpl(wrapper=True, tryfirst=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """The inner strategy, on the examples that are chosen."""
    stages = yield
    options = arm.options(InstagOptions)
    kind = Tagged if options.column else JudgeTagged
    choice = kind(options.drop, options.keep, options.amount, options.rarest, options.column)
    return select(stages, data, options.role, choice)
