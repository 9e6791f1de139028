"""A root folder of one's own: the few folders that a program may read, a small one that it may write, and no more."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from harness.sandbox.inside import linux

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_HERE = -100
_EMPTY_PATH, _RECURSIVE = 0x1000, 0x8000
_CLONE = 1
_MOVE_FROM_DESCRIPTOR = 4
_READ_ONLY = struct.pack("=QQQQ", 0b111, 0, 0, 0)  # read-only, no set-user-id, no devices

_BUILDING_SITE = "/tmp"  # noqa: S108 - any folder will do that every machine has: it is covered in this namespace alone
_ROOT_OPTIONS = "size=1m,mode=755"


def enter_new_root(readable: Sequence[str], scratch: str, scratch_bytes: int, user: int, group: int) -> None:
    """See only `readable`, at the same paths and read-only, and an empty folder `scratch` that belongs to `user`.

    Needs root, or user namespaces. Raises OSError where the kernel refuses, or is older than 5.12.
    """
    _own_mounts()
    trees = {path: linux.call("open_tree", _OPEN_TREE, _HERE, path.encode(), _CLONE | _RECURSIVE) for path in readable}
    linux.mount_tmpfs(_BUILDING_SITE, _ROOT_OPTIONS)
    for path, tree in trees.items():
        # Read-only before it is anywhere, with all that is mounted below it.
        linux.call("mount_setattr", _MOUNT_SETATTR, tree, b"", _EMPTY_PATH | _RECURSIVE, _READ_ONLY, len(_READ_ONLY))
        target = _BUILDING_SITE + path
        _make_place(target, folder=stat.S_ISDIR(os.fstat(tree).st_mode))
        linux.call("move_mount", _MOVE_MOUNT, tree, b"", _HERE, target.encode(), _MOVE_FROM_DESCRIPTOR)
        os.close(tree)
    _make_place(_BUILDING_SITE + scratch, folder=True)
    _enter(_BUILDING_SITE)
    linux.call("mount_setattr", _MOUNT_SETATTR, _HERE, b"/", 0, _READ_ONLY, len(_READ_ONLY))
    linux.mount_tmpfs(scratch, f"size={scratch_bytes},nr_inodes=1000,mode=700,uid={user},gid={group}")
    os.chdir(scratch)


def _own_mounts() -> None:
    """A mount namespace; an ordinary user gets the right to one with a user namespace, as the same user."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        linux.unshare(_NEW_MOUNTS)
    else:
        linux.unshare(_NEW_MOUNTS | _NEW_USERS)
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            _write(f"/proc/self/{name}", line)
    linux.make_mounts_private()


def _enter(root: str) -> None:
    os.chdir(root)
    # The old root comes to lie on top of the new one, from where it is taken away.
    linux.call("pivot_root", _PIVOT_ROOT[os.uname().machine], b".", b".")
    linux.detach(".")


def _make_place(path: str, *, folder: bool) -> None:
    if folder:
        os.makedirs(path, 0o755, exist_ok=True)  # noqa: PTH103 - as in landlock.py
    else:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)  # noqa: PTH103, PTH120
        _write(path, "")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - as in landlock.py
        file.write(text)
