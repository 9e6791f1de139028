"""Datasets: what a source declares for a plan's keys, and its conversations once a job reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePath

from harness.api import Columns, DataSource, Example, Files, Generated, Hub
from harness.canonical import Json, digest
from harness.data import columns as forms
from harness.data.facts import Facts, contents, inspect
from harness.data.formats import READERS, Row, rows, suffix
from harness.data.hub import download, mirrored
from harness.errors import UserError
from harness.jobs import DataDeclaration

_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^:@]+))?(:(?P<files>.+))?")


@dataclass(frozen=True)
class Located:
    """A data file where it lies, and the name it is known by in errors."""

    path: Path
    label: str


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
        return None if paths is None else _labelled(location, paths)
    for path in location.paths:
        suffix(path)
    return tuple(Located(Path(path).expanduser(), path) for path in location.paths)


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
    if not facts:
        return declared.model_copy(update={"columns": _columns_json(source.columns)})
    columns = source.columns or forms.recognise(facts[0].columns, name)
    missing = [column for column in forms.needed(columns) if column not in facts[0].columns]
    if missing:
        raise UserError(
            f"the dataset {name} has no column {', '.join(missing)}; there are {', '.join(facts[0].columns)}",
            f"the rows need {', '.join(forms.needed(columns))}",
        )
    return declared.model_copy(update={"columns": _columns_json(columns)})


def declare_files(
    name: str, location: Hub | Files, plugin: str | None, *, data_root: Path | None, cache: Path | None
) -> DataDeclaration:
    """As `declare`, for rows that are not conversations, such as those a benchmark reads."""
    return _declare(name, location, plugin, data_root, cache)[0]


def read(name: str, source: DataSource, *, data_root: Path | None) -> list[Example]:
    """The dataset's conversations, from the mirror or the user's files, else downloaded.

    Raises UserError for files that cannot be had, read or understood, naming the file and row.
    """
    return load(name, source, data_root=data_root)[0]


def load(name: str, source: DataSource, *, data_root: Path | None) -> tuple[list[Example], str | None]:
    """The conversations, and the content digest of the very bytes they were read from (None for generated ones)."""
    if isinstance(source.location, Generated):
        return _generated(name, source.location), None
    files = locate(source.location, data_root)
    if files is None:
        assert isinstance(source.location, Hub)
        files = _labelled(source.location, download(source.location))
    digests: list[str] = []
    found: list[Row] = []
    for file in files:
        content = contents(file.path, file.label)
        digests.append(sha256(content).hexdigest())
        found += rows(file.label, content)
    if not found:
        raise _empty(name, files)
    columns = source.columns or forms.recognise(tuple(found[0].values), name)
    return forms.examples(found, columns), digest(digests)


def _declare(
    name: str, location: Hub | Files, plugin: str | None, data_root: Path | None, cache: Path | None
) -> tuple[DataDeclaration, list[Facts]]:
    origin: Json = "files"
    if isinstance(location, Hub):
        origin = {"hub": location.id, "revision": location.revision, "files": list(location.files)}
    files = locate(location, data_root)
    if files is None:
        return DataDeclaration(name=name, plugin=plugin, source=origin), []
    facts = [inspect(file.path, file.label, cache) for file in files]
    n = sum(fact.rows for fact in facts)
    if n == 0:
        raise _empty(name, files)
    content = digest([fact.sha256 for fact in facts])
    return DataDeclaration(name=name, plugin=plugin, source=origin, content=content, n=n), facts


def _generated(name: str, location: Generated) -> list[Example]:
    made = list(location.make())
    if len(made) != location.n:
        raise UserError(f"the dataset {name} declares {location.n} examples and makes {len(made)}", "mend its plug-in")
    if len({example.id for example in made}) != len(made):
        raise UserError(f"the dataset {name} makes examples with equal ids", "mend its plug-in")
    for example in made:
        forms.check(example.messages, f"{name}, example {example.id}")
    return made


def _labelled(hub: Hub, paths: Sequence[Path]) -> tuple[Located, ...]:
    return tuple(Located(path, f"{hub.id}/{path.name}") for path in paths)


def _empty(name: str, files: Sequence[Located]) -> UserError:
    where = ", ".join(file.label for file in files)
    return UserError(f"the dataset {name} is empty: no rows in {where}", "give it rows, or leave it out of the recipe")


def _columns_json(columns: Columns | None) -> Json:
    return None if columns is None else {type(columns).__name__: asdict(columns)}
