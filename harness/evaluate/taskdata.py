"""The data of lm-eval tasks: read from the mirror or the hub as the plug-in declares it, never from anywhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import patch

from harness.api import Hub, LmEvalTask
from harness.data.formats import rows
from harness.data.hubrows import files_of
from harness.errors import UserError
from harness.evaluate.tasks import PACKAGED, own_files
from harness.jobs import DataDeclaration

SPLITS = ("train", "validation", "dev", "test")
"""Words of a file's name that say which split it holds."""


@contextmanager
def declared_data(task: LmEvalTask, declared: Sequence[DataDeclaration], data_root: Path | None) -> Iterator[None]:
    """`datasets.load_dataset` gives what is declared while this holds; files beside the task's YAML stay readable.

    Inside, UserError is raised for a dataset that is undeclared, cannot be had, or has changed since it was declared.
    """
    import datasets

    original = datasets.load_dataset
    contents_by_hub = dict(zip(task.data, (declaration.content for declaration in declared), strict=True))

    def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:
        if path in PACKAGED and "data_files" in options:
            return original(path, name, **{**options, "data_files": own_files(task, options["data_files"])})
        return _read(_declared(task, path, name), contents_by_hub, data_root)

    with patch.object(datasets, "load_dataset", load_dataset):
        yield


def _declared(task: LmEvalTask, path: str, name: str | None) -> Hub:
    found = [hub for hub in task.data if hub.id == path]
    if len(found) > 1 and name:
        found = [hub for hub in found if all(_belongs(PurePosixPath(file), name) for file in hub.files)]
    if len(found) != 1:
        what = f"the hub dataset {path}" + (f", configuration {name}" if name else "")
        raise UserError(
            f"the task {task.task} reads {what}, which its plug-in declares {len(found)} times",
            "declare it once in `data` of its LmEvalTask",
        )
    return found[0]


def _belongs(file: PurePosixPath, configuration: str) -> bool:
    """Whether the file lies in the configuration's folder, or has it in its name."""
    return configuration in (*file.parts[:-1], *_words(file.stem))


def _read(hub: Hub, declared: dict[Hub, str | None], data_root: Path | None) -> Any:
    """The dataset's splits by name, a `datasets.DatasetDict`."""
    from datasets import Dataset, DatasetDict

    splits: dict[str, list[dict[str, Any]]] = {}
    for path, label in files_of(hub, declared[hub], data_root):
        splits.setdefault(_split(path), []).extend(dict(row.values) for row in rows(label, path))
    return DatasetDict({name: Dataset.from_list(found) for name, found in splits.items()})


def _split(path: Path) -> str:
    """`test` for `test.jsonl`, `test-00000-of-00003.parquet`, `lambada_test_de.jsonl` and `test/0000.parquet`."""
    name = re.sub(r"-\d+-of-\d+$", "", path.stem)
    if name.isdigit():
        return path.parent.name
    named = [word for word in _words(name) if word in SPLITS]
    return named[0] if len(named) == 1 else name


def _words(name: str) -> list[str]:
    return re.split(r"[-_]", name)
