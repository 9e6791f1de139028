"""Hub datasets: which of a repository's files are meant, and the files themselves, from the hub or its cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.api import Hub, Upstream
from harness.data.formats import READERS
from harness.data.upstream import fetch_upstream
from harness.errors import Failure, HarnessError, UserError

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData

# --- the names of files --------------------------------------------------------------------------------------------


def named(names: Iterable[str], held: Iterable[str]) -> tuple[str, ...]:
    """The names, and in place of one with `*` the files that it fits, sorted; where it fits none, the name itself."""
    held = sorted(held)
    fitting = {name: tuple(file for file in held if "*" in name and fnmatchcase(file, name)) for name in names}
    return tuple(file for name, files in fitting.items() for file in files or (name,))


def training_files(hub_id: str, names: Iterable[str]) -> tuple[str, ...]:
    """Among a repository's files the one data file there is, or those of one folder and format called `train*`.

    Raises UserError listing the data files where that leaves none or a choice.
    """
    data = sorted(name for name in names if PurePosixPath(name).suffix.lower() in READERS)
    if len(data) == 1:
        return tuple(data)
    train = [PurePosixPath(name) for name in data if PurePosixPath(name).name.startswith("train")]
    if train and len({(path.parent, path.suffix.lower()) for path in train}) == 1:
        return tuple(str(path) for path in train)
    raise UserError(
        f"which files of the hub dataset {hub_id} are meant is not clear: {', '.join(data[:8]) or 'no data files'}",
        f"name one: {hub_id}:FILE",
    )


# --- the hub -------------------------------------------------------------------------------------------------------


def download(hub: Hub) -> tuple[Path, ...]:
    """The dataset's files, from the hub or its cache. Raises UserError naming the dataset and what to do."""
    if hub.files and not any("*" in name for name in hub.files):
        return tuple(fetch(hub, name, hub.revision) for name in hub.files)
    found = snapshot(hub, hub.revision)
    return tuple(fetch(hub, name, found.commit) for name in files_of(hub, found))


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it."""

    size: int | None
    sha256: str | None
    """None where the hub does not tell: it does of large files."""


@dataclass(frozen=True)
class Snapshot:
    """A hub dataset at one commit."""

    commit: str
    licence: str
    """As its card names it; empty where that names none."""
    files: Mapping[str, RemoteFile]


def snapshot(hub: Hub, revision: str) -> Snapshot:
    """The dataset at a revision, as the hub lists it; offline (`HF_HUB_OFFLINE`) what the client's cache holds of it.

    Raises UserError naming the dataset and what to do.
    """
    from huggingface_hub import HfApi, errors

    if isinstance(hub, Upstream):
        told = dict(zip(hub.files, hub.sha256, strict=False))
        return Snapshot(revision, hub.licence, {name: RemoteFile(None, told.get(name)) for name in hub.files})
    with _explained(hub, revision):
        try:
            info = HfApi().dataset_info(hub.id, revision=revision, files_metadata=True)
        except errors.OfflineModeIsEnabled:
            return _cached(hub, revision)
        assert info.sha is not None
        files = {
            sibling.rfilename: RemoteFile(sibling.size, sibling.lfs.sha256 if sibling.lfs else None)
            for sibling in info.siblings or ()
        }
        return Snapshot(info.sha, _licence(info.card_data), files)


def files_of(hub: Hub, found: Snapshot) -> tuple[str, ...]:
    """The files that are meant, by the names they have in the repository. Raises UserError for one it does not have."""
    names = named(hub.files, found.files) if hub.files else training_files(hub.id, found.files)
    if missing := [name for name in names if name not in found.files]:
        raise UserError(*_no_file(hub, missing, found.commit))
    return names


def fetch(hub: Hub, name: str, revision: str) -> Path:
    """One file in the client's cache, downloaded where it is not there. Raises UserError as `snapshot` does."""
    from huggingface_hub import hf_hub_download

    if isinstance(hub, Upstream):
        return fetch_upstream(hub, name)
    with _explained(hub, revision, name):
        return Path(hf_hub_download(hub.id, name, revision=revision, repo_type="dataset"))


def _cached(hub: Hub, revision: str) -> Snapshot:
    from huggingface_hub import DatasetCard, snapshot_download

    folder = Path(snapshot_download(hub.id, revision=revision, repo_type="dataset", local_files_only=True))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    card = files.get("README.md")
    licence = _licence(DatasetCard.load(card).data) if card else ""
    return Snapshot(folder.name, licence, {name: RemoteFile(path.stat().st_size, None) for name, path in files.items()})


def _licence(card: DatasetCardData | None) -> str:
    licence = card.license if card else None
    return ", ".join(licence) if isinstance(licence, list) else licence or ""


@contextmanager
def _explained(hub: Hub, revision: str, file: str = "") -> Iterator[None]:
    """Whatever the hub's client raises, as one line that names the dataset and what to do."""
    from huggingface_hub import errors

    # The client's HTTP library is another from version to version; what it raises has this one base.
    transport: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except (transport, OSError, errors.HFValidationError, RuntimeError) as error:  # hf_xet raises RuntimeError
        raise _explanation(error, transport, hub, revision, file) from error


def _explanation(error: Exception, transport: type[Exception], hub: Hub, revision: str, file: str) -> HarnessError:
    from huggingface_hub import errors

    what, where = f"the hub dataset {hub.id}", f"put its files into HARNESS_DATA_ROOT/{hub.id}/"
    ask = f"ask for access at https://huggingface.co/datasets/{hub.id} and set HF_TOKEN"
    said = " ".join(str(error).split("\n")[0].split())
    # The first that fits: later ones are kinds of which earlier ones are special cases.
    explanations: tuple[tuple[type[Exception], str, str], ...] = (
        (errors.HFValidationError, f"{hub.id!r} is no id of a hub dataset", "ids are like openai/gsm8k"),
        (errors.GatedRepoError, f"{what} is gated, and this account has no access to it", f"{ask}, or {where}"),
        (
            errors.RepositoryNotFoundError,
            f"the hub has no dataset {hub.id}, or it is private",
            f"check the id, set HF_TOKEN if it is private, or {where}",
        ),
        (errors.RevisionNotFoundError, f"{what} has no revision {revision}", "check the revision"),
        *(
            (kind, f"{what} is not in the mirror or the cache, and the hub cannot be reached", f"{where}, or connect")
            for kind in (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)
        ),
        (errors.EntryNotFoundError, *_no_file(hub, [file], revision)),
        (
            errors.HfHubHTTPError,
            f"the hub refuses the dataset {hub.id}: {said}",
            f"set HF_TOKEN, try again later, or {where}",
        ),
        (transport, f"the hub cannot be reached for the dataset {hub.id}: {said}", f"{where}, or connect"),
    )
    for kind, problem, remedy in explanations:
        if isinstance(error, kind):
            return UserError(problem, remedy)
    return Failure(f"{file or 'the list of files'} of {what} could not be fetched: {said}", "try again")


def _no_file(hub: Hub, names: Sequence[str], revision: str) -> tuple[str, str]:
    return (
        f"the hub dataset {hub.id} has no file {', '.join(names)} at revision {revision}",
        f"check the file names, or put its files into HARNESS_DATA_ROOT/{hub.id}/",
    )
