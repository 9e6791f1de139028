"""Where a task's YAML is, and all the files that define it. Planning imports this: nothing heavy here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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
    """A task, or the tasks of a group or tag: their YAML files, and every file that may change what they mean.

    `files` are all those of the YAML's folders, and what the YAML includes from elsewhere, by names that are equal
    everywhere.
    """

    yaml: tuple[Path, ...]
    folders: tuple[Path, ...]
    files: Mapping[str, Path]


@dataclass(frozen=True)
class _Definition:
    """A YAML file that defines a task or a group, and its content with all that it includes."""

    path: Path
    name: str
    content: Mapping[str, Any]

    @property
    def members(self) -> Sequence[Any] | None:
        """What a group holds; None for a task."""
        return self.content["task"] if "group" in self.content else None

    @property
    def tags(self) -> Sequence[str]:
        found = self.content.get("tag") or ()
        return (found,) if isinstance(found, str) else tuple(found)


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc] # which of the two it is depends on how PyYAML was built
    """Reads `!function module.name` as its text: what it names is for lm-eval to import."""


_Loader.add_constructor("!function", lambda _, node: str(node.value))


def shipped_tasks() -> Path:
    """The harness's own `tasks/`."""
    return _package("harness.tasks")


def find_task(task: LmEvalTask) -> TaskFiles:
    """The files of a task, or of all tasks of a group or tag.

    Raises UserError for one that is not there, or is there twice, and for a group with a member that is not.
    """
    root = _root(task)
    definitions = _definitions(root)
    found = [d for d in definitions if d.name == task.task] or [d for d in definitions if task.task in d.tags]
    if not found or (len(found) > 1 and task.task not in found[0].tags):
        names = ", ".join(sorted({d.name for d in definitions}.union(*(d.tags for d in definitions))))
        problem = f"{len(found)} files in {root} define the task {task.task!r}"
        raise UserError(problem, f"there are: {names}" if not found else "rename one of them")
    for definition in list(found):
        found += _members(definition, definitions)
    folders = tuple(sorted({definition.path.parent for definition in found}))
    common = Path(os.path.commonpath(folders))
    inside = sorted({path for folder in folders for path in folder.rglob("*") if _counts(path)})
    own = {path.relative_to(common).as_posix(): path for path in inside}
    elsewhere = (path for definition in found for path in _included(definition.path) if path not in inside)
    included = {f"include/{n}": path for n, path in enumerate(dict.fromkeys(elsewhere))}
    return TaskFiles(tuple(d.path for d in found if d.members is None), folders, own | included)


def own_files(task: LmEvalTask, data_files: Any) -> Any:
    """`data_files` as `datasets` takes them, with every path absolute: relative ones lie beside the task's YAML.

    Raises UserError for files that are not part of the task's digest: a change of those would go unseen.
    """
    if isinstance(data_files, Mapping):
        return {split: own_files(task, names) for split, names in data_files.items()}
    if isinstance(data_files, list | tuple):
        return [own_files(task, name) for name in data_files]
    found = find_task(task)
    counted = {own.resolve() for own in found.files.values()}
    paths = [path for folder in found.folders if (path := (folder / data_files).resolve()) in counted]
    where = " or ".join(map(str, found.folders))
    if not paths:
        raise UserError(
            f"the task {task.task} reads {data_files}, which is not in the folder of its YAML, {where}",
            "put it there, or declare it as a hub dataset in `data` of its LmEvalTask",
        )
    if len(paths) > 1:
        raise UserError(
            f"tasks of {task.task} read {data_files}, and each of {where} has one", "give the files names of their own"
        )
    return str(paths[0])


def check_own_files(task: LmEvalTask) -> None:
    """Refuse a task whose YAML names data files that `own_files` refuses, before anything is trained for it."""
    for path in find_task(task).yaml:
        content = _whole(path)
        arguments = content.get("dataset_kwargs")
        if content.get("dataset_path") in PACKAGED and isinstance(arguments, dict) and "data_files" in arguments:
            own_files(task, arguments["data_files"])


def _root(task: LmEvalTask) -> Path:
    """The folder in which the task is looked for."""
    if task.stock is not None and task.include is not None:
        raise UserError(f"the task {task.task} has both `include` and `stock`", "leave one of them out")
    if task.stock is not None:
        root = _package("lm_eval") / "tasks" / task.stock
        remedy = "check `stock` of the benchmark's task, and the version of lm-eval"
    else:
        root = shipped_tasks() if task.include is None else Path(task.include).expanduser()
        remedy = "check `include` of the benchmark's task"
    if not root.is_dir():
        raise UserError(f"there is no task folder {root}", remedy)
    return root


def _package(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _members(group: _Definition, definitions: Sequence[_Definition]) -> list[_Definition]:
    """All groups and tasks that the definition, where it is a group, holds at any depth."""
    found = []
    pending = list(group.members or ())
    while pending:
        member = pending.pop(0)
        name = member.get("group", member.get("task")) if isinstance(member, dict) else member
        named = [d for d in definitions if d.name == name] or [d for d in definitions if name in d.tags]
        if isinstance(member, dict) and "group" in member and not named:
            pending += member["task"]  # a group that this one defines itself
            continue
        if not named:
            raise UserError(
                f"the group {group.name} holds {name!r}, which no file beside it defines",
                "check its name, and that its YAML lies in the same folder",
            )
        found += named
        pending += [inner for d in named for inner in d.members or ()]
    return found


@cache
def _definitions(root: Path) -> tuple[_Definition, ...]:
    """The YAML files below a folder that define a task or a group."""
    found = []
    for path in sorted(root.rglob("*.yaml")):
        own = _load(path)
        name = own.get("group", own.get("task"))
        if isinstance(name, str):
            found.append(_Definition(path, name, _whole(path)))
    return tuple(found)


def _whole(path: Path) -> dict[str, Any]:
    """The file's content over that of the files it includes."""
    content: dict[str, Any] = {}
    for file in (path, *_included(path)):
        content = _load(file) | content
    return content


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
