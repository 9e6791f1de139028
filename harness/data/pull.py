"""Filling the mirror: what datasets declare, downloaded at one commit each, and pinned in the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

    A branch is taken at the commit where it was pulled first, so that its files fit together; with `update` at its
    newest, and all its files move. A file that is there and is another is left alone and told of; `replace` overwrites
    it. What cannot be had is told of too, and the rest still comes. Every file is whole or absent, and pinned once it
    is there, so an interrupted pull goes on where it was. Raises UserError where another pull is at work, Failure where
    the disk refuses.
    """
    with explained(root, "--to"), _alone(root):
        work = _Pull(root, update=update, replace=replace)
        for hub in dict.fromkeys(hubs):
            try:
                yield work.bring(hub)
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
    """One command's work on a mirror."""

    def __init__(self, root: Path, *, update: bool, replace: bool) -> None:
        self.root, self.update, self.replace = root, update, replace
        self.lock = read_lock(root)
        self.listed: dict[tuple[str, str], Snapshot | HarnessError] = {}
        """Hub id and revision to what the hub says of it: some datasets are asked for in many parts."""
        self.brought: set[str] = set()
        """Paths of all files that this command has dealt with."""

    def bring(self, hub: Hub) -> Pulled:
        """Bring a dataset's files; the hub is asked only where something may be missing."""
        revision = self._revision(hub)
        if not self.update and not self.replace:
            pins = [self.lock.pin(f"{hub.id}/{name}") for name in hub.files]
            there = tuple(pin for pin in pins if pin and pin.revision == revision and self._is_there(pin))
            if there and len(there) == len(pins):
                return Pulled(hub, there)
            if by_hand := self._by_hand(hub):
                return Pulled(hub, by_hand=by_hand)
        found = self._list(hub, revision)
        names = files_of(hub, found)
        if self.update:
            names = tuple(dict.fromkeys([*names, *self._moving(hub, found)]))
        # Pinned before anything comes, so that a part of what a pattern fits is never taken for the whole.
        self._write([_pin(hub, name, found) for name in names if not self.lock.pin(f"{hub.id}/{name}")])
        came, held, errors = 0, list[str](), list[HarnessError]()
        for name in names:
            try:
                came += self._put(hub, _pin(hub, name, found), found.files[name].sha256)
                held.append(f"{hub.id}/{name}")
            except HarnessError as error:
                errors.append(error)
        pins = [self.lock.pin(path) for path in held]
        return Pulled(hub, tuple(pin for pin in pins if pin), came, errors=tuple(errors))

    def _revision(self, hub: Hub) -> str:
        """The commit at which the branch was pulled, or the revision itself."""
        pulled = (pin.revision for pin in self.lock.of(hub.id) if pin.asked == hub.revision)
        return hub.revision if self.update else next(pulled, hub.revision)

    def _moving(self, hub: Hub, found: Snapshot) -> list[str]:
        """Files of the branch that were pulled before: they move with it. Those that it no longer has are removed."""
        of_branch = [pin for pin in self.lock.of(hub.id) if pin.asked == hub.revision]
        gone = [pin for pin in of_branch if pin.file not in found.files]
        for pin in gone:
            if self._is_there(pin):
                (self.root / pin.path).unlink()
        self.lock = self.lock.without(gone)
        return [pin.file for pin in of_branch if pin not in gone]

    def _list(self, hub: Hub, revision: str) -> Snapshot:
        known = self.listed.get((hub.id, revision))
        if known is None:
            try:
                known = snapshot(hub, revision)
            except HarnessError as error:
                known = error
            self.listed[hub.id, revision] = known
            if isinstance(known, Snapshot):
                self.listed[hub.id, known.commit] = known
        if isinstance(known, HarnessError):
            raise known
        return known

    def _is_there(self, pin: Pin) -> bool:
        path = self.root / pin.path
        return path.is_file() and file_digest(path) == pin.sha256

    def _by_hand(self, hub: Hub) -> tuple[Path, ...]:
        """All its files, where none of them was pulled."""
        found = mirrored(hub, self.root) or ()
        pinned = {self.root / pin.path for pin in self.lock.of(hub.id)}
        return () if pinned.intersection(found) else found

    def _write(self, pins: Iterable[Pin]) -> None:
        self.lock = self.lock.having(pins)
        write_lock(self.root, self.lock)

    def _put(self, hub: Hub, pin: Pin, told: str | None) -> bool:
        """Put one file, of the SHA-256 that the hub told, into the mirror; returns whether it was not there before."""
        place, before = self.root / pin.path, self.lock.pin(pin.path)
        has = file_digest(place) if place.is_file() else None
        pulled = before if before and has and before.sha256 == has else None
        again = pin.path in self.brought
        self.brought.add(pin.path)
        if pulled and (pulled.revision == pin.revision or told == has):
            return False  # another commit may hold the same file
        source, sha256 = _fetched(hub, pin, told)
        if has not in (None, sha256):
            self._refuse_other(pin, pulled, again=again)
        if has != sha256:
            copy_whole(source, place)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([pin.model_copy(update={"size": source.stat().st_size, "sha256": sha256, "pulled": now})])
        return has != sha256

    def _refuse_other(self, pin: Pin, pulled: Pin | None, *, again: bool) -> None:
        """Raise UserError where the file that is there may not give way; `pulled` is its pin if it is as pulled."""
        one, other = pin.revision[:SHORT], pulled.revision[:SHORT] if pulled else ""
        if pulled and again:
            raise UserError(f"{pin.path} is asked for at two revisions, {other} and {one}", "keep them in two mirrors")
        if pulled and not self.update:
            raise UserError(f"{pin.path} is in the mirror at revision {other}, not {one}", "--update moves it")
        if not pulled and not self.replace:
            raise UserError(f"{pin.path} in the mirror is not the hub's at revision {one}", "--replace overwrites it")


def _pin(hub: Hub, name: str, found: Snapshot) -> Pin:
    """What the file must be, before it is there."""
    return Pin(
        hub=hub.id,
        file=name,
        asked=hub.revision,
        revision=found.commit,
        licence=found.licence,
        size=found.files[name].size,
    )


def _fetched(hub: Hub, pin: Pin, told: str | None) -> tuple[Path, str]:
    """The file where it was downloaded to, and its SHA-256."""
    source = fetch(hub, pin.file, pin.revision)
    sha256 = file_digest(source)
    if told not in (None, sha256):
        raise Failure(f"{pin.path} arrived damaged", f"remove {source.resolve()}, and pull again")
    return source, sha256
