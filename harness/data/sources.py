"""Datasets: what a source declares for a plan's keys, and its conversations once a job reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path, PurePath

from harness.api import Columns, DataSource, Example, Files, Generated, Hub
from harness.canonical import Json, canonical, digest
from harness.data import columns as forms
from harness.data.facts import Facts, content_digest, inspect, remembered
from harness.data.formats import READERS, Row, rows, suffix
from harness.data.hub import download
from harness.data.ids import IdCollector, Ids
from harness.data.mirror import mirrored, read_lock
from harness.errors import UserError
from harness.jobs import DataDeclaration

_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^:@]+))?(:(?P<files>.+))?")


@dataclass(frozen=True)
class Located:
    """A data file where it lies, and the name it is known by in errors."""

    path: Path
    label: str
    pinned: str | None = None
    """SHA-256 that it must have, by the mirror's lock."""
    members: tuple[str, ...] = ()
    """Of an archive, the files in it that are meant."""

    def rows(self) -> Iterator[Row]:
        """Its rows. Raises UserError naming the line that is broken."""
        return rows(self.label, self.path, self.members)

    def verify(self, sha256: str) -> None:
        """Raises UserError for a file of the mirror that is not what was pulled."""
        if self.pinned not in (None, sha256):
            raise UserError(
                f"{self.path} is not the file that was pulled: the mirror's lock names another SHA-256",
                "harness data pull --replace fetches it again",
            )


def from_text(text: str) -> DataSource:
    """What a recipe's source means when it names no plug-in: a file, or `org/name[@revision][:file,file]` on the hub.

    The columns are recognised when the rows are read. Raises UserError for text that is neither.
    """
    if PurePath(text).suffix.lower() in READERS and ":" not in text:
        return DataSource(Files((text,)))
    if text.startswith((".", "/", "~")):
        suffix(text)
    if match := _HUB.fullmatch(text):
        files = tuple(match["files"].split(",")) if match["files"] else ()
        return DataSource(Hub(match["id"], files, match["revision"] or "main"))
    formats = ", ".join(READERS)
    raise UserError(
        f"the data source {text!r} is neither a plug-in, a data file nor a hub id",
        f"give an installed plug-in's name, a file in {formats}, or org/name[@revision][:file]",
    )


def locate(location: Hub | Files, data_root: Path | None) -> tuple[Located, ...] | None:
    """The location's files on this machine; None for a hub dataset that the mirror does not hold.

    Raises UserError for a user's file that cannot be read by its name.
    """
    if isinstance(location, Hub):
        paths = mirrored(location, data_root)
        if paths is None or data_root is None:
            return None
        pins = {data_root / pin.path: pin.sha256 for pin in read_lock(data_root).of(location.id)}
        return tuple(_of_hub(location, path, pins.get(path)) for path in paths)
    for path in location.paths:
        suffix(path)
    return tuple(Located(Path(path).expanduser(), path) for path in location.paths)


def _of_hub(hub: Hub, path: Path, pinned: str | None = None) -> Located:
    return Located(path, f"{hub.id}/{path.name}", pinned, hub.members)


def declare(
    name: str, source: DataSource, plugin: str | None, *, data_root: Path | None, cache: Path | None
) -> DataDeclaration:
    """The dataset as far as keys are concerned. Reads its files where they are on this machine, and nothing else.

    `plugin` is `name version`, None for files and hub ids that the user names; `cache` is a folder that remembers
    digests and counts. Raises UserError for files that are missing, broken, empty or without the needed columns.
    """
    if isinstance(source.location, Generated):
        made = source.location
        return DataDeclaration(name=name, plugin=plugin, source={"generated": dict(made.recipe)}, n=made.n)
    declared, facts = _declare(name, source.location, plugin, data_root, cache)
    declared = declared.model_copy(update={"rows": forms.taking_part(source)})
    if not facts:
        return declared.model_copy(update={"columns": _columns_json(source.columns)})
    columns = source.columns or forms.recognise(facts[0].columns, name)
    missing = [column for column in forms.needed(columns) if column not in facts[0].columns]
    if missing:
        raise UserError(
            f"the dataset {name} has no column {', '.join(missing)}; there are {', '.join(facts[0].columns)}",
            f"the rows need {', '.join(forms.needed(columns))}",
        )
    all_ = not source.only and source.unfit == "refuse"
    n = declared.n if all_ else _count(name, source, columns, data_root, cache)
    return declared.model_copy(update={"columns": _columns_json(columns), "n": n})


def declare_files(
    name: str, location: Hub | Files, plugin: str | None, *, data_root: Path | None, cache: Path | None
) -> DataDeclaration:
    """As `declare`, for rows that are not conversations, such as those a benchmark reads."""
    return _declare(name, location, plugin, data_root, cache)[0]


@dataclass(frozen=True)
class Dataset:
    """A dataset on this machine, whose conversations can be read any number of times and are never held together."""

    name: str
    source: DataSource
    files: tuple[Located, ...] = ()
    content: str | None = None
    """Digest of the files; None for generated examples."""

    @property
    def n(self) -> int | None:
        """How many conversations a plug-in makes; None for files."""
        return self.source.location.n if isinstance(self.source.location, Generated) else None

    @property
    def formats(self) -> tuple[str, ...]:
        """Those of its files, in order."""
        return tuple(suffix(file.label) for file in self.files)

    def conversations(self, *, meta: bool = False) -> Iterator[tuple[str | None, Example]]:
        """One after another, each with the id that its row gives itself; until all are read, ids are provisional.

        With `meta` they hold the rows' further columns, as JSON. Raises UserError for rows that cannot be read or
        understood, naming file and row, and for files that change meanwhile.
        """
        if isinstance(self.source.location, Generated):
            yield from _generated(self.name, self.source.location)
            return
        before = [_stamp(file.path) for file in self.files]
        found = (row for file in self.files for row in file.rows())
        first = next(found, None)
        if first is None:
            raise _empty(self.name, self.files)
        columns = self.source.columns or forms.recognise(tuple(first.values), self.name)
        for index, (row, turns) in enumerate(forms.conversations(chain([first], found), self.source, columns)):
            own = forms.own_id(row)
            further = forms.further(row, columns) if meta else {}
            name = str(index) if own is None else own
            yield own, Example(name, turns, further, forms.rejected(row, columns))
        if [_stamp(file.path) for file in self.files] != before:
            raise UserError(f"the files of the dataset {self.name} changed while they were read", "try again")

    def ids(self) -> Ids:
        """The ids of all conversations: the rows' own where every row has one and no two are equal, else 0, 1, 2 ..."""
        collector = IdCollector()
        for own, _ in self.conversations():
            collector.add(own)
        return collector.ids()

    def examples(self, *, meta: bool = False) -> list[Example]:
        """All conversations at once, as `conversations` gives them."""
        collector = IdCollector()
        found = []
        for own, example in self.conversations(meta=meta):
            collector.add(own)
            found.append(example)
        return [replace(example, id=id_) for id_, example in zip(collector.ids(), found, strict=True)]


def open_dataset(name: str, source: DataSource, *, data_root: Path | None, cache: Path | None = None) -> Dataset:
    """The dataset, in the mirror or the user's files, else downloaded; nothing is read yet but for the digest.

    `cache` is a folder that remembers digests. Raises UserError for files that cannot be had.
    """
    if isinstance(source.location, Generated):
        return Dataset(name, source)
    files = locate(source.location, data_root)
    if files is None:
        assert isinstance(source.location, Hub)
        files = tuple(_of_hub(source.location, path) for path in download(source.location))
    digests = [content_digest(file.path, file.label, cache) for file in files]
    for file, sha256 in zip(files, digests, strict=True):
        file.verify(sha256)
    return Dataset(name, source, files, digest(digests))


def read(name: str, source: DataSource, *, data_root: Path | None) -> list[Example]:
    """The dataset's conversations, from the mirror or the user's files, else downloaded.

    Raises UserError for files that cannot be had, read or understood, naming the file and row.
    """
    return open_dataset(name, source, data_root=data_root).examples()


def declared_fields(value: object) -> dict[str, Json]:
    """The class of a frozen dataclass and its fields: what it does follows from these and the plug-in's version.

    Fields that are data are left out: they are declared by what they hold, wherever it lies.
    """
    found: dict[str, Json] = asdict(value)  # type: ignore[call-overload]
    settings = {name: of for name, of in found.items() if not isinstance(getattr(value, name), Hub | Files)}
    return {"class": type(value).__name__, **settings}


def _declare(
    name: str, location: Hub | Files, plugin: str | None, data_root: Path | None, cache: Path | None
) -> tuple[DataDeclaration, list[Facts]]:
    origin: Json = "files"
    if isinstance(location, Hub):
        origin = {"hub": location.id, "revision": location.revision, "files": list(location.files)}
    files = locate(location, data_root)
    if files is None:
        return DataDeclaration(name=name, plugin=plugin, source=origin), []
    facts = [inspect(file.path, file.label, cache, file.members) for file in files]
    for file, fact in zip(files, facts, strict=True):
        file.verify(fact.sha256)
    n = sum(fact.rows for fact in facts)
    if n == 0:
        raise _empty(name, files)
    content = digest([fact.sha256 for fact in facts])
    return DataDeclaration(name=name, plugin=plugin, source=origin, content=content, n=n), facts


def _count(name: str, source: DataSource, columns: Columns, data_root: Path | None, cache: Path | None) -> int:
    """How many rows of files on this machine take part. Raises UserError where none does."""
    assert not isinstance(source.location, Generated)
    files, n = locate(source.location, data_root) or (), 0
    for file in files:

        def look(file: Located = file) -> Mapping[str, int]:
            return {"n": sum(1 for _ in forms.conversations(file.rows(), source, columns))}

        n += remembered(canonical([forms.taking_part(source), _columns_json(columns)]), file.path, cache, look)["n"]
    if n == 0:
        raise UserError(f"no row of the dataset {name} takes part", f"its source takes {canonical(source.only)}")
    return n


def _generated(name: str, location: Generated) -> Iterator[tuple[str, Example]]:
    collector = IdCollector()
    for example in location.make():
        forms.check(example.messages, f"{name}, example {example.id}")
        collector.add(example.id)
        yield example.id, example
    if len(collector) != location.n:
        raise UserError(
            f"the dataset {name} declares {location.n} examples and makes {len(collector)}", "mend its plug-in"
        )
    if not collector.distinct:
        raise UserError(f"the dataset {name} makes examples with equal ids", "mend its plug-in")


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _empty(name: str, files: Sequence[Located]) -> UserError:
    where = ", ".join(file.label for file in files)
    return UserError(f"the dataset {name} is empty: no rows in {where}", "give it rows, or leave it out of the recipe")


def _columns_json(columns: Columns | None) -> Json:
    return None if columns is None else {type(columns).__name__: asdict(columns)}
