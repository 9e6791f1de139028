"""System calls that Python has no function for. Each raises OSError naming the call that failed."""

from __future__ import annotations

import ctypes
import os

NO_NEW_PRIVS = 38
PARENT_DEATH_SIGNAL = 1
DUMPABLE = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(name: str, number: int, *arguments: Argument) -> int:
    """The system call `number`; integers are passed in full width."""
    full = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(name, _libc.syscall(ctypes.c_long(number), *full))


def prctl(name: str, option: int, value: int) -> None:
    """A setting of this process; what it starts has it too, but for the death signal."""
    full = [ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)]
    _checked(name, _libc.prctl(option, *full))


def unshare(flags: int) -> None:
    """Leave the namespaces of the parent."""
    _checked("unshare", _libc.unshare(flags))


def mount_tmpfs(place: str, options: str) -> None:
    """An empty file system in memory, without devices, programs and set-user-id files."""
    flags = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
    _checked(f"mount {place}", _libc.mount(b"tmpfs", place.encode(), b"tmpfs", flags, options.encode()))


def make_mounts_private() -> None:
    """Keep what is mounted from now on from the namespace that this one was made from."""
    recursive, private = 1 << 14, 1 << 18
    _checked("mount --make-rprivate", _libc.mount(None, b"/", None, recursive | private, None))


def detach(place: str) -> None:
    """Unmount a whole tree."""
    _checked("umount2", _libc.umount2(place.encode(), 2))


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked("capset", _libc.capset(header, (ctypes.c_uint32 * 6)()))


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
