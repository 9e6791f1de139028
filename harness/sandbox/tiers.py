"""The ways of shutting a program in, the strongest first. Each is a command that starts the cell behind its walls."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from harness.errors import Failure
from harness.sandbox.inside.confine import SCRATCH, SCRATCH_BYTES
from harness.sandbox.view import View

ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
"""All that a program's environment holds: sets of text have one order always, and numpy starts no threads."""

_NOBODY = "65534"
_IMAGE = "instruct-harness-empty"
_PROCESSES = "16"
_ULIMITS = ("--ulimit", "nofile=64", "--ulimit", "nproc=4096")
"""Where none are given podman raises them, which not every root may."""


class Tier(Protocol):
    """One way of shutting a program in."""

    @property
    def name(self) -> str:
        """What results record."""
        ...

    @property
    def walls(self) -> Mapping[str, bool] | None:
        """Walls that the cell puts up itself, besides the filter of system calls; None: not even that."""
        ...

    @property
    def direct(self) -> bool:
        """Whether the cell is a child of the process that gives the command."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the command."""
        ...

    def prepare(self) -> None:
        """Called once. Raises Failure where something is missing."""
        ...

    def command(self, cell: list[str], view: View, memory_bytes: int, label: str) -> list[str]:
        """The command that starts the cell; `label` is a name of its own for what is started."""
        ...

    def stop(self, label: str) -> None:
        """End what would outlive the command when that is killed."""
        ...


@dataclass(frozen=True)
class Process:
    """A process that the kernel confines at its own request."""

    name: str
    walls: Mapping[str, bool] | None
    direct = True
    environment = ENVIRONMENT

    def prepare(self) -> None:
        """Nothing is needed but the kernel."""

    def command(self, cell: list[str], view: View, memory_bytes: int, label: str) -> list[str]:  # noqa: ARG002
        """The cell itself."""
        return cell

    def stop(self, label: str) -> None:
        """Nothing outlives the process."""


@dataclass(frozen=True)
class Bubblewrap:
    """Namespaces made by `bwrap`, which may be allowed what an ordinary process is not."""

    name = "bubblewrap"
    direct = False
    walls = {"own_root": False, "landlock": False}  # noqa: RUF012 - a constant of a frozen class
    environment = ENVIRONMENT

    def prepare(self) -> None:
        """Look for it."""
        _program("bwrap")

    def command(self, cell: list[str], view: View, memory_bytes: int, label: str) -> list[str]:  # noqa: ARG002
        """Nothing shared, and a root that holds what may be read."""
        shown = chain.from_iterable(("--ro-bind", path, path) for path in _shown(view))
        return [
            *(_program("bwrap"), "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--uid", _NOBODY, "--gid", _NOBODY),
            *shown,
            *("--size", str(SCRATCH_BYTES), "--tmpfs", SCRATCH, "--remount-ro", "/", "--chdir", SCRATCH),
            *("--", *cell),
        ]

    def stop(self, label: str) -> None:
        """The namespace's first process dies with the command, and all others with it."""


@dataclass(frozen=True)
class Container:
    """A container of an empty image, started by `docker` or `podman`."""

    name: str
    direct = False
    walls = {"own_root": False, "landlock": False}  # noqa: RUF012 - a constant of a frozen class

    @property
    def environment(self) -> Mapping[str, str]:
        """The user's own: the command has to find its daemon and settings. The container gets none of it."""
        return os.environ

    def prepare(self) -> None:
        """See that there is an image: one that holds nothing, and so need not be fetched."""
        program = _program(self.name)
        if _run(program, "image", "inspect", _IMAGE).returncode:
            empty_archive = bytes(1024)
            made = _run(program, "import", "-", _IMAGE, given=empty_archive)
            if made.returncode:
                raise Failure(_last_line(made.stderr))

    def command(self, cell: list[str], view: View, memory_bytes: int, label: str) -> list[str]:
        """No network, no capabilities, nothing to be written but a small folder."""
        settings = chain.from_iterable(("--env", f"{name}={value}") for name, value in ENVIRONMENT.items())
        shown = chain.from_iterable(("--volume", f"{path}:{path}:ro") for path in _shown(view))
        memory = str(2 * memory_bytes)  # of the program, and of the referee
        return [
            *(_program(self.name), "run", "--rm", "--interactive", "--name", label, "--log-driver", "none"),
            *("--network", "none", "--ipc", "private", "--read-only", "--user", f"{_NOBODY}:{_NOBODY}"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--pids-limit", _PROCESSES, "--memory", memory, "--memory-swap", memory, *_ULIMITS),
            *("--tmpfs", f"{SCRATCH}:rw,noexec,nosuid,nodev,mode=1777,size={SCRATCH_BYTES}", "--workdir", SCRATCH),
            *settings,
            *shown,
            *(_IMAGE, *cell),
        ]

    def stop(self, label: str) -> None:
        """A container belongs to its daemon, and stays when the command is killed."""
        _run(_program(self.name), "kill", label)


TIERS: tuple[Tier, ...] = (
    Process("namespaces+landlock", {"own_root": True, "landlock": True}),
    Process("namespaces", {"own_root": True, "landlock": False}),
    Process("landlock", {"own_root": False, "landlock": True}),
    Bubblewrap(),
    Container("docker"),
    Container("podman"),
)
UNSAFE = Process("unsafe", None)


def _shown(view: View) -> tuple[str, ...]:
    return (*view.readable, view.python, view.inside)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Failure(f"{name} is not installed")
    return found


def _run(*command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
