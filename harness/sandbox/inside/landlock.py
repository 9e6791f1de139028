"""Landlock: what the kernel lets this process, and what it starts, do with files, TCP and its neighbours.

See https://docs.kernel.org/userspace-api/landlock.html. Rights that a newer kernel knows are taken away too; rights
that this one does not know are none of its own. What Landlock has no rights for (attributes of files, whether a path
is there) is left to the filter of system calls and to the root of one's own.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from harness.sandbox.inside import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14

_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""By version: read, write, make and remove; then rename across folders, truncate, and ioctl of devices."""
_NETWORK_RIGHTS = 0b11  # bind and connect a TCP socket
_SCOPES = 0b11  # abstract Unix sockets, and signals, of processes outside
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6

_READ = _READ_FILE | _READ_DIR
_USE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE


def restrict(readable: Sequence[str], scratch: str | None) -> None:
    """Leave this process nothing but reading below `readable`, and plain files and folders below `scratch`.

    Raises OSError where the kernel has no Landlock. `no_new_privs` must be set.
    """
    version = linux.call("landlock", _CREATE_RULESET, None, 0, _ASK_VERSION)
    handled = _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]
    network = _NETWORK_RIGHTS if version >= _NETWORK_SINCE else 0
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    # An older kernel takes the longer structure as long as the fields it does not know are zero.
    attributes = struct.pack("=QQQ", handled, network, scopes)
    ruleset = linux.call("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)
    for path in readable:
        _allow(ruleset, path, _READ & handled)
    if scratch is not None:
        _allow(ruleset, scratch, _USE & handled)
    linux.call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib is slow to import, and this is done for every program
        rights &= ~_READ_DIR
    linux.call("landlock_add_rule", _ADD_RULE, ruleset, _BENEATH, struct.pack("=Qi", rights, place), 0)
    os.close(place)
