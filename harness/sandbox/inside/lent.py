"""Packages that programs may import besides the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.machinery import ModuleSpec


class Lent:
    """Finds packages that lie where others are not to be found; for `sys.meta_path`."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        """Where the package is; None for all others."""
        if name not in self._folders:
            return None
        from importlib.util import spec_from_file_location  # few programs get here

        folder = self._folders[name]
        return spec_from_file_location(name, f"{folder}/__init__.py", submodule_search_locations=[folder])
