"""What a machine can run out of, put into words wherever heavy work is done."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import Failure

_CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")
_DISK_FULL = ("no space left", "failed writing file", "file write failed", "unexpected pos", "iostream error")
"""What safetensors says, then what torch's archive writer says, which knows no clearer words for it."""


@contextmanager
def failures_named(doing: str, folder: Path, setting: str = "runtime.micro_tokens") -> Iterator[None]:
    """Raise a Failure with its remedy for exhausted memory and full disks; let everything else pass.

    `setting` is what takes less memory when it is lowered.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        found = _explain(error, doing, folder, setting)
        if found is None:
            raise
        raise found from error
    except Exception as error:
        # safetensors reports a failed write with an exception of its own, known by its text alone.
        if type(error).__module__.startswith("safetensors") and _mentions(error, _DISK_FULL):
            raise _disk_full(doing, folder) from error
        raise


def _explain(error: Exception, doing: str, folder: Path, setting: str) -> Failure | None:
    if isinstance(error, OSError):
        return _disk_full(doing, folder) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or _mentions(error, _CPU_OUT_OF_MEMORY)
    ):
        return Failure(f"out of memory while {doing}", f"lower --set {setting}; results stay the same")
    return _disk_full(doing, folder) if _mentions(error, _DISK_FULL) else None


def _mentions(error: Exception, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)


def _disk_full(doing: str, folder: Path) -> Failure:
    return Failure(
        f"the disk is full while {doing} in {folder}", "free some space and run the same command again; it goes on"
    )
