"""Where a task's YAML is, and all the files that define it. Planning imports this: nothing heavy here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from harness.api import LmEvalTask
from harness.errors import UserError

PACKAGED = ("json", "csv", "parquet", "text")
"""Builders of `datasets` that read files a task ships in its own folder."""


@dataclass(frozen=True)
class TaskFiles:
    """A task's YAML file, and every file that may change what the task means, by a name that is equal everywhere."""

    yaml: Path
    files: Mapping[str, Path]


class _Loader(yaml.SafeLoader):
    """Reads `!function module.name` as its text: what it names is for lm-eval to import."""


_Loader.add_constructor("!function", lambda _, node: str(node.value))


def shipped_tasks() -> Path:
    """The harness's own `tasks/`."""
    spec = find_spec("harness.tasks")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def find_task(task: LmEvalTask) -> TaskFiles:
    """The task's files: its YAML's folder, and what the YAML includes from elsewhere.

    Raises UserError for a task that is not there, or is there twice.
    """
    root = shipped_tasks() if task.include is None else Path(task.include).expanduser()
    if not root.is_dir():
        raise UserError(f"there is no task folder {root}", "check `include` of the benchmark's task")
    found = [path for path, name in _named(root) if name == task.task]
    if len(found) != 1:
        names = ", ".join(sorted(name for _, name in _named(root)))
        problem = f"{len(found)} files in {root} define the task {task.task!r}"
        raise UserError(problem, f"there are: {names}" if not found else "rename one of them")
    folder = found[0].parent
    own = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _counts(path)}
    included = {f"include/{n}": path for n, path in enumerate(_included(found[0])) if path not in own.values()}
    return TaskFiles(found[0], own | included)


def own_files(task: LmEvalTask, data_files: Any) -> Any:
    """`data_files` as `datasets` takes them, with every path absolute: relative ones lie beside the task's YAML.

    Raises UserError for files that are not part of the task's digest: a change of those would go unseen.
    """
    if isinstance(data_files, Mapping):
        return {split: own_files(task, names) for split, names in data_files.items()}
    if isinstance(data_files, list | tuple):
        return [own_files(task, name) for name in data_files]
    found = find_task(task)
    path = (found.yaml.parent / data_files).resolve()
    if path not in {own.resolve() for own in found.files.values()}:
        raise UserError(
            f"the task {task.task} reads {data_files}, which is not in the folder of its YAML, {found.yaml.parent}",
            "put it there, or declare it as a hub dataset in `data` of its LmEvalTask",
        )
    return str(path)


def check_own_files(task: LmEvalTask) -> None:
    """Refuse a task whose YAML names data files that `own_files` refuses, before anything is trained for it."""
    yaml_file = find_task(task).yaml
    content: dict[str, Any] = {}
    for path in (yaml_file, *_included(yaml_file)):
        content = _load(path) | content
    arguments = content.get("dataset_kwargs")
    if content.get("dataset_path") in PACKAGED and isinstance(arguments, dict) and "data_files" in arguments:
        own_files(task, arguments["data_files"])


@cache
def _named(root: Path) -> tuple[tuple[Path, str], ...]:
    """The YAML files below a folder that define a task, with its name."""
    loaded = ((path, _load(path)) for path in sorted(root.rglob("*.yaml")))
    return tuple((path, content["task"]) for path, content in loaded if isinstance(content.get("task"), str))


def _included(path: Path) -> Iterator[Path]:
    included = _load(path).get("include", [])
    for name in [included] if isinstance(included, str) else included:
        other = (path.parent / name).resolve()
        yield other
        yield from _included(other)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader with one more tag
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the task file {path}: {str(error).splitlines()[0]}", "mend the file") from None
    return content if isinstance(content, dict) else {}


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
