"""Filling the mirror: what datasets declare, downloaded at one commit each, and pinned in the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from harness.api import Hub
from harness.canonical import file_digest
from harness.data.hub import Snapshot, fetch, files_of, snapshot
from harness.data.mirror import Pin, mirrored, read_lock, write_lock
from harness.errors import Failure, HarnessError, UserError
from harness.files import copy_whole, explained
from harness.store import SHORT


@dataclass(frozen=True)
class Pulled:
    """What became of one dataset."""

    hub: Hub
    pins: tuple[Pin, ...] = ()
    """Its files that are in the mirror now."""
    came: int = 0
    """How many of them were not there before."""
    by_hand: tuple[Path, ...] = ()
    """Files that somebody put there, of which the lock knows nothing; the hub was not asked."""
    errors: tuple[HarnessError, ...] = ()
    """Why files are not there."""


def pull(hubs: Iterable[Hub], root: Path, *, update: bool = False, replace: bool = False) -> Iterator[Pulled]:
    """Fetch what the mirror lacks of the datasets, one after another; what was pulled before is verified.

    A branch is taken at the commit where it was pulled first, so that its files fit together, with `update` at its
    newest. A file that is there and is another is left alone and told of; `replace` overwrites it. What cannot be had
    is told of too, and the rest still comes. Every file is whole or absent, and pinned once it is there, so an
    interrupted pull goes on where it was. Raises UserError where another pull is at work, Failure where the disk
    refuses.
    """
    commits: dict[str, str] = {}
    with explained(root, "--to"), _alone(root):
        for hub in dict.fromkeys(hubs):
            try:
                yield _Pull(hub, root, commits, update=update, replace=replace).run()
            except HarnessError as error:
                yield Pulled(hub, errors=(error,))


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(root / ".mirror.lock", blocking=False):
            yield
    except filelock.Timeout:
        raise UserError(f"another pull fills {root}", "wait until it has ended") from None


class _Pull:
    """One dataset on its way into the mirror."""

    def __init__(self, hub: Hub, root: Path, commits: dict[str, str], *, update: bool, replace: bool) -> None:
        self.hub, self.root, self.update, self.replace = hub, root, update, replace
        self.lock = read_lock(root)
        self.commits = commits
        """Path to commit of all files that this command has dealt with."""

    def run(self) -> Pulled:
        """Bring its files; the hub is asked only where something may be missing."""
        revision = self._revision()
        if not self.update and not self.replace:
            pins = self._come(self.hub.files, revision)
            if pins and len(pins) == len(self.hub.files) and all(map(self._is_there, pins)):
                return Pulled(self.hub, pins)
            if by_hand := self._by_hand():
                return Pulled(self.hub, by_hand=by_hand)
        found = snapshot(self.hub, revision)
        names = files_of(self.hub, found)
        # Pinned before anything comes, so that a part of what a pattern fits is never taken for the whole.
        self._write([self._pin(name, found) for name in names if not self.lock.pin(f"{self.hub.id}/{name}")])
        came, errors = 0, list[HarnessError]()
        for name in names:
            try:
                came += self._bring(self._pin(name, found), found.files[name].sha256)
            except HarnessError as error:
                errors.append(error)
        return Pulled(self.hub, self._come(names, found.commit), came, errors=tuple(errors))

    def _revision(self) -> str:
        """The commit at which the branch was pulled, or the revision itself."""
        pulled = (pin.revision for pin in self.lock.of(self.hub.id) if pin.asked == self.hub.revision)
        return self.hub.revision if self.update else next(pulled, self.hub.revision)

    def _come(self, names: Sequence[str], commit: str) -> tuple[Pin, ...]:
        """The files' pins, of those that have come at that commit."""
        pins = (self.lock.pin(f"{self.hub.id}/{name}") for name in names)
        return tuple(pin for pin in pins if pin and pin.sha256 and pin.revision == commit)

    def _is_there(self, pin: Pin) -> bool:
        path = self.root / pin.path
        return path.is_file() and file_digest(path) == pin.sha256

    def _by_hand(self) -> tuple[Path, ...]:
        """All its files, where none of them was pulled."""
        found = mirrored(self.hub, self.root) or ()
        pinned = {self.root / pin.path for pin in self.lock.of(self.hub.id)}
        return () if pinned.intersection(found) else found

    def _pin(self, name: str, found: Snapshot) -> Pin:
        return Pin(
            hub=self.hub.id,
            file=name,
            asked=self.hub.revision,
            revision=found.commit,
            licence=found.licence,
            size=found.files[name].size,
        )

    def _write(self, pins: Iterable[Pin]) -> None:
        self.lock = self.lock.having(pins)
        write_lock(self.root, self.lock)

    def _bring(self, pin: Pin, told: str | None) -> bool:
        """Put one file, of the SHA-256 that the hub told, into the mirror; returns whether it was not there before."""
        self._claim(pin)
        place, before = self.root / pin.path, self.lock.pin(pin.path)
        has = file_digest(place) if place.is_file() else None
        pulled = before if before and has and before.sha256 == has else None
        if pulled and pulled.revision == pin.revision:
            return False
        if pulled and not self.update:
            raise UserError(
                f"{pin.path} is in the mirror at revision {pulled.revision[:SHORT]}, not {pin.revision[:SHORT]}",
                "--update moves it",
            )
        source, sha256 = self._fetch(pin, told)
        if has not in (None, sha256) and not pulled and not self.replace:
            raise UserError(
                f"{pin.path} in the mirror is not the hub's at revision {pin.revision[:SHORT]}",
                "--replace overwrites it",
            )
        if has != sha256:
            copy_whole(source, place)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([pin.model_copy(update={"size": source.stat().st_size, "sha256": sha256, "pulled": now})])
        return has != sha256

    def _claim(self, pin: Pin) -> None:
        """Two revisions of one file would take turns in one place."""
        other = self.commits.setdefault(pin.path, pin.revision)
        if other != pin.revision:
            raise UserError(
                f"{pin.path} is asked for at two revisions, {other[:SHORT]} and {pin.revision[:SHORT]}",
                "keep them in two mirrors",
            )

    def _fetch(self, pin: Pin, told: str | None) -> tuple[Path, str]:
        """The file where the hub's client keeps it, and its SHA-256."""
        source = fetch(self.hub, pin.file, pin.revision)
        sha256 = file_digest(source)
        if told not in (None, sha256):
            raise Failure(f"{pin.path} arrived damaged", f"remove {source.resolve()}, and pull again")
        return source, sha256
