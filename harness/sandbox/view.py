"""What a program may read: Python's library, the system's, and numpy; nothing of anybody's own."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.sandbox import inside

_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/usr/share/zoneinfo")
_LENT = ("numpy",)
"""Packages that programs may import besides the standard library: HumanEval's own runner asks for numpy."""


@dataclass(frozen=True)
class View:
    """Absolute paths."""

    python: str
    """The interpreter itself, not a virtual environment's name for it."""
    readable: tuple[str, ...]
    """Folders and files, none within another."""
    lent: Mapping[str, str]
    """Importable packages, and where they lie."""
    inside: str
    """The package of what runs inside."""


def view() -> View:
    """What a program may read on this machine."""
    lent = {name: folder for name in _LENT if (folder := _package(name))}
    wanted = {*_libraries(), *_SYSTEM}
    for folder in lent.values():
        wanted |= {folder, f"{folder}.libs"}  # the second is where a wheel keeps shared libraries
    there = sorted(path for path in wanted if Path(path).exists())
    outermost = tuple(path for path in there if not any(str(parent) in wanted for parent in Path(path).parents))
    return View(
        python=getattr(sys, "_base_executable", sys.executable),
        readable=outermost,
        lent=lent,
        inside=str(Path(inside.__file__).parent),
    )


def _libraries() -> Iterator[str]:
    for name in ("stdlib", "platstdlib"):
        yield sysconfig.get_path(name, vars={"installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix})
    for prefix in (sys.base_prefix, sys.base_exec_prefix):
        yield f"{prefix}/lib"


def _package(name: str) -> str | None:
    spec = find_spec(name)
    return str(Path(spec.origin).resolve().parent) if spec and spec.origin else None
