"""What a machine can run out of, put into words wherever heavy work is done."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Failure

_CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")
_DISK_FULL = ("no space left", "failed writing file", "file write failed", "unexpected pos", "iostream error")
"""What safetensors says, then what torch's archive writer says, which knows no clearer words for it."""


_KILLED = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")
"""Where the kernel counts processes that it killed for memory: this container's, else the machine's."""


@dataclass(frozen=True)
class Relief:
    """How much memory was wanted, in words, and what takes less."""

    wanted: str
    remedy: str


@contextmanager
def failures_named(
    doing: str, folder: Path, setting: str = "runtime.micro_tokens", relief: Callable[[], Relief] | None = None
) -> Iterator[None]:
    """Raise a Failure with its remedy for exhausted memory and full disks; let everything else pass.

    `setting` is what takes less memory when it is lowered; `relief` knows better, where it is given.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        found = _explain(error, doing, folder, setting, relief)
        if found is None:
            raise
        raise found from error
    except Exception as error:
        # safetensors reports a failed write with an exception of its own, known by its text alone.
        if type(error).__module__.startswith("safetensors") and _mentions(error, _DISK_FULL):
            raise _disk_full(doing, folder) from error
        raise


def killed_for_memory() -> int:
    """Processes that the kernel has killed for want of memory; 0 where it does not say.

    Looked at before and after, it tells such a death from a kill by somebody else.
    """
    for name in _KILLED:
        try:
            lines = Path(name).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        counts = [int(line.split()[1]) for line in lines if line.split()[:1] == ["oom_kill"]]
        if counts:
            return counts[0]
    return 0


def out_of_memory(doing: str, setting: str, relief: Relief | None) -> Failure:
    """What to say of exhausted memory."""
    if relief is None:
        return Failure(f"out of memory while {doing}", f"lower --set {setting}; results stay the same")
    return Failure(f"out of memory while {doing}: {relief.wanted}", relief.remedy)


def starved(label: str, who: str, setting: str, relief: Relief | None) -> Failure:
    """What to say of a process that the kernel killed for memory, which could not say it itself."""
    problem = f"{label}: the kernel killed {who} for want of memory"
    if relief is None:
        return Failure(problem, f"lower --set {setting}; results stay the same")
    return Failure(f"{problem}: {relief.wanted}", relief.remedy)


def _explain(
    error: Exception, doing: str, folder: Path, setting: str, relief: Callable[[], Relief] | None
) -> Failure | None:
    if isinstance(error, OSError):
        return _disk_full(doing, folder) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or _mentions(error, _CPU_OUT_OF_MEMORY)
    ):
        return out_of_memory(doing, setting, relief() if relief else None)
    return _disk_full(doing, folder) if _mentions(error, _DISK_FULL) else None


def _mentions(error: Exception, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)


def _disk_full(doing: str, folder: Path) -> Failure:
    return Failure(
        f"the disk is full while {doing} in {folder}", "free some space and run the same command again; it goes on"
    )
