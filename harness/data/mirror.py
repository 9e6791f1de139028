"""The local mirror of hub datasets, `<root>/<hub id>/<file>`, and its lock: what each file that was pulled must be.

`mirror.json` in the root names hub id, revision, SHA-256, size and licence of every file that `harness data pull` put
there. Files that a person put there are read too; nothing is known of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pydantic

from harness.api import Hub
from harness.canonical import file_digest
from harness.data.hub import named, training_files
from harness.errors import UserError
from harness.files import write_whole
from harness.jobs import Declaration

LOCK = "mirror.json"


class Pin(Declaration):
    """What one file of the mirror must be."""

    hub: str
    file: str
    """Its path in the repository."""
    asked: str
    """The revision that was asked for, `main`."""
    revision: str
    """The commit that it was."""
    licence: str = ""
    """As the dataset's card names it."""
    size: int | None = None
    """Bytes; None while the hub has not told."""
    sha256: str | None = None
    """None while the file is yet to come."""
    pulled: str | None = None
    """UTC, ISO 8601."""

    @property
    def path(self) -> str:
        """Where it lies below the root."""
        return f"{self.hub}/{self.file}"


class Lock(Declaration):
    """The lock of a mirror."""

    version: Literal[1] = 1
    files: tuple[Pin, ...] = ()
    """By path, each path once."""

    def pin(self, path: str) -> Pin | None:
        """What the file at a path below the root must be; None where that is not known."""
        return next((pin for pin in self.files if pin.path == path), None)

    def of(self, hub_id: str) -> tuple[Pin, ...]:
        """The files of one dataset."""
        return tuple(pin for pin in self.files if pin.hub == hub_id)

    def without(self, pins: Iterable[Pin]) -> Lock:
        """The lock without these."""
        gone = {pin.path for pin in pins}
        return Lock(files=tuple(pin for pin in self.files if pin.path not in gone))

    def having(self, pins: Iterable[Pin]) -> Lock:
        """The lock with these in place of what it says of the same paths."""
        by_path = {pin.path: pin for pin in (*self.files, *pins)}
        return Lock(files=tuple(by_path[path] for path in sorted(by_path)))


def read_lock(root: Path) -> Lock:
    """The mirror's lock, an empty one where there is none. Raises UserError for one that cannot be read."""
    path = root / LOCK
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except (OSError, pydantic.ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error.strerror
        raise UserError(
            f"{path} cannot be read: {why}", "restore it, or remove it and pull again: equal files are kept"
        ) from None


def write_lock(root: Path, lock: Lock) -> None:
    """Write the lock, whole."""
    write_whole(root / LOCK, lock.model_dump_json(indent=1) + "\n")


def mirrored(hub: Hub, root: Path | None) -> tuple[Path, ...] | None:
    """The dataset's files in the mirror; None where it has none, lacks one of them, or one is yet to come.

    Files under the hub's own names, as `harness data pull` leaves them, go before those under the mirror's. Raises
    UserError for a mirror that is not there, and where no files are named and none can be singled out.
    """
    if root is None:
        return None
    if not root.is_dir():
        raise UserError(f"the mirror {root} is not a folder", "set HARNESS_DATA_ROOT to one, or unset it")
    folder = root / hub.id
    if not folder.is_dir():
        return None
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # A pattern is only known to have all its files once those that are yet to come are counted.
    known = held | {pin.file for pin in read_lock(root).of(hub.id)}
    for asked in [names for names in (hub.files, hub.mirror) if names] or [training_files(hub.id, known)]:
        names = named(asked, known)
        if held.issuperset(names):
            return tuple(folder / name for name in names)
    return None


def faults(pins: Iterable[Pin], root: Path) -> list[UserError]:
    """Those of the pinned files that are not what was pulled. Every file is read."""
    found = []
    for pin in pins:
        path = root / pin.path
        if pin.sha256 is None or not path.is_file():
            found.append(UserError(f"{pin.path} is not in the mirror", "harness data pull fetches it"))
        elif file_digest(path) != pin.sha256:
            found.append(
                UserError(f"{pin.path} is not the file that was pulled", "harness data pull --replace fetches it again")
            )
    return found
