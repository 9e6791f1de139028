"""Flat arrays in files: written once by whoever comes first, and mapped into memory by everybody.

A folder of arrays appears by one rename, sealed with the length of each, when everything in it is on disk. Until then
others wait for a lock, which the system frees when its holder dies; what a dead holder left is written anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from harness.canonical import Json, canonical
from harness.files import held, sync

SEAL = "seal.json"

_BUFFER = 1 << 20

Arrays = Mapping[str, npt.NDArray[Any]]


class Writer:
    """Appends to the arrays of a folder, each named after its file."""

    def __init__(self, folder: Path, types: Mapping[str, npt.DTypeLike]) -> None:
        self._folder = folder
        self._types = {name: np.dtype(kind) for name, kind in types.items()}
        self._files: dict[str, BinaryIO] = {}
        self._lengths = dict.fromkeys(types, 0)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name in self._types:
                file = (self._folder / name).open("wb", buffering=_BUFFER)
                self._files[name] = stack.enter_context(file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def append(self, **arrays: npt.NDArray[Any]) -> None:
        """More of each array that is named, converted to its type."""
        for name, array in arrays.items():
            self._files[name].write(np.ascontiguousarray(array, dtype=self._types[name]).data)
            self._lengths[name] += len(array)

    def seal(self, facts: Json) -> None:
        """Make everything last, and say that it is whole; `facts` are kept beside it."""
        for file in self._files.values():
            file.flush()
        for path in [self._folder / name for name in self._types]:
            sync(path)
        arrays = {name: [kind.str, self._lengths[name]] for name, kind in self._types.items()}
        (self._folder / SEAL).write_text(canonical({"arrays": arrays, "facts": facts}))
        sync(self._folder / SEAL)
        sync(self._folder)


def whole(folder: Path) -> bool:
    """Whether the folder is there with all that was sealed in it."""
    try:
        arrays = json.loads((folder / SEAL).read_text())["arrays"]
        return all(
            (folder / name).stat().st_size == np.dtype(kind).itemsize * length
            for name, (kind, length) in arrays.items()
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return False


def mapped(folder: Path) -> tuple[Arrays, Json]:
    """The arrays, read from disk as they are used, and the facts beside them."""
    seal = json.loads((folder / SEAL).read_text())
    arrays = {
        name: np.asarray(np.memmap(folder / name, dtype=kind, mode="r")) if length else np.empty(0, dtype=kind)
        for name, (kind, length) in seal["arrays"].items()
    }
    return arrays, seal["facts"]


def once(folder: Path, write: Callable[[Path], None], waiting: Callable[[], None] = lambda: None) -> None:
    """Have the folder written, unless it is whole already or becomes so while another process writes it.

    `write` is given an empty folder in which it leaves sealed arrays; `waiting` is called every few seconds of a wait.
    """
    if whole(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder.with_name(f"{folder.name}.lock"), waiting):
        if whole(folder):
            return
        partial = folder.with_name(f"{folder.name}.partial")
        for rest in (partial, folder):
            shutil.rmtree(rest, ignore_errors=True)
        partial.mkdir()
        try:
            write(partial)
            partial.rename(folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
