"""A model's tensors on disk, read one at a time: what was read is in memory, and nothing else of the files is."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open

from harness.errors import UserError
from harness.modelfolder import weight_files


class Tensors(Protocol):
    """Named tensors of one model."""

    @property
    def names(self) -> frozenset[str]:
        """Of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor, which is not read."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Of one tensor, which is not read."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """One tensor in its own dtype; the caller's to write over."""
        ...


@dataclass(frozen=True)
class Place:
    """What a file's header says of one tensor."""

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Stored:
    """Tensors of safetensors files, each opened anew: a file that stays open stays in memory, page by page."""

    files: tuple[Path, ...]

    @classmethod
    def model(cls, folder: Path) -> Stored:
        """A model's weights. Raises UserError where there are none, or some are missing."""
        return cls(weight_files(folder))

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """Where each tensor is. Raises UserError for a file that is cut off or no safetensors file."""
        return {name: place for path in self.files for name, place in places_in(path).items()}

    @property
    def names(self) -> frozenset[str]:
        """Of all tensors."""
        return frozenset(self.places)

    def shape(self, name: str) -> tuple[int, ...]:
        """From the file's header."""
        return self.places[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """From the file's header."""
        return self.places[name].dtype

    def read(self, name: str) -> torch.Tensor:
        """A copy of the tensor."""
        with safe_open(self.places[name].path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name).clone()
        return tensor


def places_in(path: Path) -> dict[str, Place]:
    """The tensors of one file in the order of their names. Raises UserError as `Stored.places` does."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: _place(path, file, name) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read: {error}", "fetch or train the model again") from error


def _place(path: Path, file: Any, name: str) -> Place:
    shape = tuple(file.get_slice(name).get_shape())
    empty = file.get_slice(name)[:0] if shape else file.get_tensor(name)
    return Place(path, shape, empty.dtype)


def check_alike(first: tuple[str, Tensors], other: tuple[str, Tensors]) -> None:
    """Raise UserError unless two named models have tensors of the same names, shapes and kinds of numbers."""
    (one, mine), (two, theirs) = first, other
    if unshared := theirs.names - mine.names:
        raise unlike(one, two, _lacks(one, unshared))
    check_covered(first, other)


def check_covered(first: tuple[str, Tensors], other: tuple[str, Tensors], but: AbstractSet[str] = frozenset()) -> None:
    """Raise UserError unless the other has the first's tensors `but` these, of the same shapes and kinds of numbers.

    What it has besides does not matter: files of the hub hold tied weights twice, and buffers that are computed anew.
    """
    (one, mine), (two, theirs) = first, other
    wanted = mine.names - but
    if unshared := wanted - theirs.names:
        raise unlike(one, two, _lacks(two, unshared))
    for name in sorted(wanted):
        here, there = mine.shape(name), theirs.shape(name)
        if here != there:
            raise unlike(one, two, f"{name} is {list(here)} in one and {list(there)} in the other")
        if mine.dtype(name).is_floating_point != theirs.dtype(name).is_floating_point:
            raise unlike(one, two, f"{name} holds whole numbers in one of them alone")


def _lacks(who: str, names: AbstractSet[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{who} lacks {min(names)}{more}"


def unlike(one: str, two: str, how: str) -> UserError:
    """What to say of two models that cannot be merged."""
    return UserError(f"{one} and {two} cannot be merged: {how}", "merge models that were trained from the same one")
