"""What this machine has, looked at without importing torch: GPUs, memory, compilers, launchers, packages."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_MIB = 2**20
_PATIENCE_SECONDS = 5.0
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNLIMITED = 2**60


@dataclass(frozen=True)
class Gpu:
    """One GPU that a process started from here would see."""

    name: str
    memory: int
    """Bytes in all."""


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs that nvidia-smi lists and CUDA_VISIBLE_DEVICES leaves; none where there is no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ()
    listed = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    found = [(uuid, Gpu(name, int(memory) * _MIB)) for uuid, name, memory in listed]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(gpu for _, gpu in found)
    seen: list[Gpu] = []
    for word in filter(None, (word.strip() for word in chosen.split(","))):
        matching = [gpu for i, (uuid, gpu) in enumerate(found) if word == str(i) or uuid.startswith(word)]
        if not matching:  # as CUDA does: what follows an unknown device is not seen
            break
        seen.append(matching[0])
    return tuple(seen)


def memory_bytes() -> int:
    """The machine's memory, or what a container or a limit of this process leaves of it."""
    limits = [psutil.virtual_memory().total]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:  # of addresses, most of which libraries reserve and never use
        taken = psutil.Process().memory_info()
        limits.append(soft - taken.vms + taken.rss)
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _UNLIMITED:
            limits.append(int(text))
    return min(limits)


def free_disk(folder: Path) -> int:
    """Free bytes where the folder lies, or will lie."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def installed(package: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def program(name: str) -> str | None:
    """The program's path, that of this interpreter's environment first."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def ninja() -> str | None:
    """What builds torch's extensions."""
    return program("ninja")


def compiler() -> str | None:
    """The C++ compiler that torch would call."""
    return shutil.which(os.environ.get("CXX", "g++"))
