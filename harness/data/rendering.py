"""The token cache: conversations as one tokenizer and template render them, kept by content and mapped into memory.

Neither the length that training cuts at nor a loss is in it, so stages, arms, seeds and budgets share one rendering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache as remembered
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.api import DataSource, Example, Message
from harness.canonical import Json, canonical, digest, file_digest, utf8
from harness.data import chat, columns, dialect, flat, formats, ids, layout, lots
from harness.data.dialect import Dialect
from harness.data.ids import IdCollector, Ids
from harness.data.mixtures import choose, count, locate
from harness.data.sources import Dataset
from harness.errors import UserError
from harness.files import explained
from harness.jobs import MixtureItem

TOKENS = "tokens"
"""Where in the cache folder renderings lie."""

_CODE = (chat, columns, dialect, formats, ids, layout)
_LIBRARIES = ("jinja2", "tokenizers", "transformers")
_TYPES = {
    "ids": np.int32,
    "parts": np.uint8,
    "offsets": np.int64,
    "special": np.int32,
    "names": np.uint8,
    "name_offsets": np.int64,
}


@dataclass(frozen=True, eq=False)
class Rendering:
    """Conversations in a row: the tokens of conversation i are `offsets[i]:offsets[i + 1]` of the flat arrays."""

    ids: npt.NDArray[np.int32]
    parts: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    special: npt.NDArray[np.int32]
    """How often the contents of each spelt a special token."""
    names: Ids
    """The conversations' ids."""
    key: str
    """Equal for equal content."""

    def __len__(self) -> int:
        return len(self.special)


@dataclass(frozen=True)
class Chosen:
    """What a mixture's item comes to: some of a rendering's conversations."""

    name: str
    rendering: Rendering
    rows: npt.NDArray[np.int64]
    content: str | None
    """Digest of the files that the dataset was read from; None for generated examples."""


@dataclass(frozen=True)
class Renderings:
    """Renders what mixtures name, unless it has been rendered already."""

    sources: Mapping[str, DataSource]
    dialect: Dialect
    folder: Path
    """Where renderings are kept; may be shared with other processes and machines."""
    data_root: Path | None = None
    facts: Path | None = None
    """A folder that remembers digests of files."""
    processes: int = 1
    report: Callable[[int, int], None] = lambda _done, _total: None
    """Called with the conversations rendered and their number, which grows with them where it is not known."""
    waiting: Callable[[], None] = lambda: None
    """Called every few seconds while another process renders the same."""

    def of(self, item: MixtureItem, *, rejected: bool = False) -> Chosen:
        """The item's conversations: part of what has been rendered already, or rendered now.

        With `rejected`, those of preference pairs that end in the rejected answer.
        Raises UserError for data that cannot be had, read or rendered, Failure for a full disk.
        """
        dataset = locate(item, self.sources, data_root=self.data_root, cache=self.facts)
        data = _identity(dataset, self.dialect) | ({"answer": "rejected"} if rejected else {})
        keys = [
            digest({**data, "ops": [operation.model_dump(mode="json") for operation in item.ops[:done]]})
            for done in range(len(item.ops) + 1)
        ]
        done = next((done for done, key in enumerate(keys) if flat.whole(self.folder / key)), len(item.ops))
        folder = self.folder / keys[done]
        with explained(self.folder):
            flat.once(folder, lambda partial: self._write(partial, item, dataset, rejected=rejected), self.waiting)
        rendering = _mapped(folder)
        return Chosen(item.data.name, rendering, choose(item, rendering.names, done=done), dataset.content)

    def _write(self, folder: Path, item: MixtureItem, dataset: Dataset, *, rejected: bool) -> None:
        collector = IdCollector()
        if item.ops:
            known = dataset.ids()
            rows = choose(item, known)
            examples, total = _picked(dataset, rows), len(rows)
        else:
            examples, total = _collected(dataset, collector), count(item) or dataset.n or 0
        if rejected:
            examples = map(with_rejected, examples)
        done = tokens = 0
        with flat.Writer(folder, _TYPES) as writer:
            writer.append(offsets=np.zeros(1, dtype=np.int64))
            for lot in lots.render(examples, self.dialect, self.processes):
                writer.append(
                    ids=lot.ids, parts=lot.parts, special=lot.special, offsets=tokens + np.cumsum(lot.lengths)
                )
                done, tokens = done + len(lot.lengths), tokens + len(lot.ids)
                self.report(done, max(total, done))
            names = known.take(rows) if item.ops else collector.ids()
            writer.append(names=names.text, name_offsets=names.offsets)
            writer.seal({"dataset": dataset.name})


def _mapped(folder: Path) -> Rendering:
    arrays, _ = flat.mapped(folder)
    names = Ids(arrays["names"], arrays["name_offsets"])
    return Rendering(arrays["ids"], arrays["parts"], arrays["offsets"], arrays["special"], names, folder.name)


def with_rejected(example: Example) -> Example:
    """The conversation with the answer that was not preferred. Raises UserError for one that is no preference pair."""
    if example.rejected is None or example.messages[-1].role != "assistant":
        raise UserError(
            f"example {example.id} is no preference pair: it has no rejected answer beside its last turn",
            "train on it with the objective sft, or give the rows a `rejected` answer",
        )
    return replace(example, messages=(*example.messages[:-1], Message("assistant", example.rejected)))


def _picked(dataset: Dataset, rows: npt.NDArray[np.int64]) -> Iterator[Example]:
    """The conversations of these rows, which stand in the dataset's order."""
    wanted = iter(rows.tolist())
    following = next(wanted, None)
    for index, (_, example) in enumerate(dataset.conversations()):
        if index == following:
            yield example
            following = next(wanted, None)


def _collected(dataset: Dataset, collector: IdCollector) -> Iterator[Example]:
    for own, example in dataset.conversations():
        collector.add(own)
        yield example


# --- what a rendering is known by ----------------------------------------------------------------------------------


def _identity(dataset: Dataset, dialect: Dialect) -> dict[str, Json]:
    """All that a rendering of the whole dataset depends on; neither its name nor where it lies."""
    named = dataset.source.columns
    return {
        "content": dataset.content or _fingerprint(dataset),
        "formats": list(dataset.formats),
        "columns": None if named is None else {type(named).__name__: asdict(named)},
        "rows": columns.taking_part(dataset.source),
        "dialect": dialect.digest,
        "code": _code(),
    }


def _fingerprint(dataset: Dataset) -> str:
    """Of the conversations themselves, where no files hold them."""
    found = hashlib.sha256()
    for _, example in dataset.conversations():
        turns = [[message.role, message.content] for message in example.messages]
        pair = [] if example.rejected is None else [example.rejected]
        found.update(utf8(canonical([example.id, turns, *pair])))
    return found.hexdigest()


@remembered
def _code() -> Json:
    """The code that renders: this package's by content, so that nobody has to remember to raise a version."""
    own = [file_digest(Path(module.__file__)) for module in _CODE if module.__file__]
    return [own, [version(name) for name in _LIBRARIES]]
