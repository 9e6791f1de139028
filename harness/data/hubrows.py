"""Rows of the datasets that a benchmark declares, as they were when the plan was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from harness.api.benchmarks import Read, Rows
from harness.api.data import Files, Hub
from harness.canonical import digest, file_digest
from harness.data.formats import rows
from harness.data.hub import download
from harness.data.sources import locate
from harness.errors import Failure, UserError
from harness.jobs import DataDeclaration


def files_of(location: Hub | Files, content: str | None, data_root: Path | None) -> list[tuple[Path, str]]:
    """The dataset's files with the names they are known by: in the mirror, else downloaded.

    Raises UserError where they cannot be had, or are no longer what `content` says.
    """
    files = [(file.path, file.label) for file in locate(location, data_root) or ()]
    if not files and isinstance(location, Hub):
        files = [(path, path.name) for path in download(location)]
    if content not in (None, digest([file_digest(path) for path, _ in files])):
        raise UserError(f"the files of {named(location)} have changed since the plan was made", "run the command again")
    return files


def named(location: Hub | Files) -> str:
    """What people call it."""
    return location.id if isinstance(location, Hub) else ", ".join(location.paths)


def reader(locations: Sequence[Hub | Files], declared: Sequence[DataDeclaration], data_root: Path | None) -> Read:
    """What reads the rows of these datasets, each once. Raises Failure for one that the benchmark does not declare."""
    contents: Mapping[Hub | Files, str | None] = dict(zip(locations, (data.content for data in declared), strict=True))

    @cache
    def read(location: Hub | Files) -> Rows:
        if location not in contents:
            raise Failure(f"the benchmark reads {named(location)}, which it does not declare", "name it in its `data`")
        files = files_of(location, contents[location], data_root)
        return [dict(row.values) for path, label in files for row in rows(label, path)]

    return read


def read_now(locations: Sequence[Hub | Files], data_root: Path | None) -> Read:
    """What reads the rows of these datasets as they are now."""
    declared = [DataDeclaration(name=named(location), source=None) for location in locations]
    return reader(locations, declared, data_root)
