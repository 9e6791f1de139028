"""The content-addressed store: one folder per finished job, named by its key, made visible by one rename.

jobs/<key>/       finished jobs; manifest.json inside, written before the rename
partial/<key>/    work in progress, resumed by whoever comes next
locks/<key>.lock  held by the worker of that job; the system frees it when the worker dies
slurm/<key>/      submissions of the job to a cluster: batch scripts, their output, the latest news
judgments/        what was bought of judges (`harness.judge.judgments`); kept until the user removes it
cache/            what only saves time: digests of data files, and datasets as tokens
runs/<name>.json  which keys a run folder stands on, so that `gc` knows what is still wanted
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import filelock

from harness.canonical import Json, canonical, digest
from harness.errors import Failure, UserError
from harness.files import explained, held, sync, write_whole
from harness.jobs import Job

MANIFEST = "manifest.json"
SHORT = 12
"""Characters of a key that people are shown."""


@dataclass(frozen=True)
class Entry:
    """A finished job as `ls` shows it."""

    key: str
    manifest: Mapping[str, Any]
    size: int


@dataclass(frozen=True)
class Store:
    """The store under one root folder."""

    root: Path

    def folder(self, key: str) -> Path:
        """Where a finished job lies."""
        return self.root / "jobs" / key

    def manifest(self, key: str) -> dict[str, Any] | None:
        """A finished job's manifest; None where the job is not finished."""
        try:
            manifest: dict[str, Any] = json.loads((self.folder(key) / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Failure(
                f"the manifest of job {key[:SHORT]} is damaged", f"remove it: harness store rm {key[:SHORT]}"
            ) from error
        return manifest

    def has(self, key: str) -> bool:
        """Whether a job is finished."""
        return (self.folder(key) / MANIFEST).is_file()

    def started(self, key: str) -> bool:
        """Whether an unfinished job has left something to go on from."""
        return self.partial(key).is_dir()

    def partial(self, key: str) -> Path:
        """Where an unfinished job lies."""
        return self.root / "partial" / key

    def submission(self, key: str) -> Path:
        """Where what belongs to the job's submissions to a cluster lies."""
        return self.root / "slurm" / key

    @contextmanager
    def working_on(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """The job's partial folder, held alone: whoever else wants the job waits until it is finished or given up.

        `waiting` is called every few seconds of that.
        """
        with explained(self.root):
            partial, lock = self.partial(key), self._lock(key)
            lock.parent.mkdir(parents=True, exist_ok=True)
            with held(lock, waiting):
                partial.mkdir(parents=True, exist_ok=True)
                yield partial

    def commit(self, job: Job, manifest: Mapping[str, Json], without: Iterable[str] = ()) -> None:
        """Make a job's partial folder its finished one: manifest first, then everything synced, then the rename.

        `without` names folders in it that only an unfinished job needs: they go last, for until then it may be killed.
        """
        partial, final = self.partial(job.key), self.folder(job.key)
        with explained(self.root):
            write_whole(partial / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
            _sync_tree(partial)
            final.parent.mkdir(parents=True, exist_ok=True)
            needless = [self._out_of_sight(partial / name) for name in without if (partial / name).is_dir()]
            try:
                partial.rename(final)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                if self.has(job.key):
                    # Where locks do not hold, another worker may have finished it: equal keys, equal results.
                    shutil.rmtree(partial)
                else:  # somebody took the manifest away, and with it the job
                    self._discard(final)
                    partial.rename(final)
            sync(final.parent)
            for folder in needless:
                shutil.rmtree(folder, ignore_errors=True)  # `collect` would find it

    # --- housekeeping ----------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All finished jobs, oldest first."""
        found = []
        for folder in (self.root / "jobs").glob("*"):
            manifest = self.manifest(folder.name)
            if manifest is not None:
                found.append(Entry(folder.name, manifest, _size(folder)))
        return sorted(found, key=lambda entry: (entry.manifest.get("finished", ""), entry.key))

    def resolve(self, prefix: str) -> str:
        """The one key that begins with `prefix`."""
        keys = [folder.name for folder in (self.root / "jobs").glob(f"{prefix}*")] if prefix.isalnum() else []
        if len(keys) != 1:
            what = f"{len(keys)} jobs have keys" if keys else "no finished job has a key"
            raise UserError(f"{what} beginning with {prefix!r} in {self.root}", "harness store ls shows them")
        return keys[0]

    def remove(self, keys: Iterable[str]) -> int:
        """Remove finished jobs; returns the bytes freed. A job vanishes whole, by one rename, before it is deleted."""
        freed = 0
        with explained(self.root):
            for key in keys:
                freed += self._discard(self.folder(key))
        return freed

    def record_run(self, folder: Path, keys: Iterable[str]) -> None:
        """Remember that a run folder stands on these keys, finished or not."""
        place = str(folder.resolve())
        path = self.root / "runs" / f"{folder.resolve().name}-{digest(place)[:SHORT]}.json"
        text = canonical({"folder": place, "keys": sorted(keys)})
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with explained(self.root):
                write_whole(path, text)

    def garbage(self) -> tuple[list[str], list[Path]]:
        """Finished jobs that no existing run folder stands on; what is left of unfinished ones that nobody works on."""
        wanted: set[str] = set()
        for path in (self.root / "runs").glob("*.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            if Path(record["folder"]).is_dir():
                wanted.update(record["keys"])
        jobs = sorted(folder.name for folder in (self.root / "jobs").glob("*") if folder.name not in wanted)
        rests = [*(self.root / "partial").glob("*"), *(self.root / "slurm").glob("*")]
        return jobs, [rest for rest in rests if rest.name not in wanted and self._is_free(rest.name)]

    def collect(self) -> int:
        """Remove the garbage, and what an interrupted removal left; returns the bytes freed."""
        jobs, partials = self.garbage()
        with explained(self.root):
            freed = self.remove(jobs) + sum(self._discard(partial) for partial in partials)
            return freed + sum(self._discard(rest) for rest in (self.root / "bin").glob("*"))

    @property
    def cached(self) -> int:
        """Bytes of what is remembered to save time: it can be made again."""
        return _size(self.root / "cache")

    def clear_cache(self) -> int:
        """Forget it; returns the bytes freed. Running jobs keep what they have open."""
        cache = self.root / "cache"
        with explained(self.root):
            return self._discard(cache) if cache.is_dir() else 0

    def _discard(self, folder: Path) -> int:
        size = _size(folder)
        shutil.rmtree(self._out_of_sight(folder))
        return size

    def _out_of_sight(self, folder: Path) -> Path:
        """One rename away, to be deleted there."""
        bin_ = self.root / "bin" / uuid4().hex
        bin_.parent.mkdir(parents=True, exist_ok=True)
        return folder.rename(bin_)

    def _lock(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"

    def _is_free(self, key: str) -> bool:
        try:
            with filelock.FileLock(self._lock(key), blocking=False):
                return True
        except filelock.Timeout:
            return False


def differences(one: Json, other: Json, at: str = "") -> list[tuple[str, Json, Json]]:
    """Where two JSON values differ: dotted place, value here, value there (None where it is missing)."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = sorted({*one, *other})
        return [d for n in names for d in differences(one.get(n), other.get(n), f"{at}.{n}" if at else n)]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{at}[{i}]")]
    return [] if one == other else [(at, one, other)]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_symlink():
            sync(path)
    sync(folder)
