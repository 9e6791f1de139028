"""Files of hub datasets: in the local mirror, else downloaded at the revision asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.api import Hub
from harness.data.formats import READERS
from harness.errors import UserError


def mirrored(hub: Hub, data_root: Path | None) -> tuple[Path, ...] | None:
    """The dataset's files in the mirror `<data_root>/<id>/`; None where it has none, or nothing for one of the names.

    Raises UserError for a mirror that is not there, and where no files are named and none can be singled out.
    """
    if data_root is None:
        return None
    if not data_root.is_dir():
        raise UserError(f"the mirror {data_root} is not a folder", "set HARNESS_DATA_ROOT to one, or unset it")
    folder = data_root / hub.id
    if not folder.is_dir():
        return None
    held = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    names = tuple(_named(hub.mirror or hub.files or training_files(hub.id, held), held))
    return tuple(folder / name for name in names) if set(names) <= set(held) else None


def download(hub: Hub) -> tuple[Path, ...]:
    """The dataset's files, from the hub or its cache. Raises UserError naming the dataset and what to do."""
    import httpx
    from huggingface_hub import HfApi, errors, hf_hub_download

    elsewhere = f"put its files into HARNESS_DATA_ROOT/{hub.id}/"
    try:
        files = hub.files
        if not files or any("*" in name for name in files):
            held = sorted(HfApi().list_repo_files(hub.id, revision=hub.revision, repo_type="dataset"))
            files = tuple(_named(files or training_files(hub.id, held), held))
        return tuple(Path(hf_hub_download(hub.id, file, revision=hub.revision, repo_type="dataset")) for file in files)
    except errors.GatedRepoError:
        problem = f"the hub dataset {hub.id} is gated, and this account has no access to it"
        remedy = f"ask for access at https://huggingface.co/datasets/{hub.id} and set HF_TOKEN, or {elsewhere}"
    except errors.RepositoryNotFoundError:
        problem = f"the hub has no dataset {hub.id}, or it is private"
        remedy = f"check the id, set HF_TOKEN if it is private, or {elsewhere}"
    except errors.RevisionNotFoundError:
        problem, remedy = f"the hub dataset {hub.id} has no revision {hub.revision}", "check the revision"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, httpx.TransportError):
        problem = f"the hub dataset {hub.id} is neither in the mirror nor in the cache, and the hub cannot be reached"
        remedy = f"{elsewhere}, or connect to the hub"
    except errors.EntryNotFoundError:
        problem = f"the hub dataset {hub.id} has no file {', '.join(hub.files)} at revision {hub.revision}"
        remedy = f"check the file names, or {elsewhere}"
    except errors.HfHubHTTPError as error:
        problem = f"the hub refuses the dataset {hub.id}: {str(error).strip().splitlines()[0]}"
        remedy = f"set HF_TOKEN, try again later, or {elsewhere}"
    raise UserError(problem, remedy)


def training_files(hub_id: str, names: Sequence[str]) -> tuple[str, ...]:
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


def _named(names: Iterable[str], held: Sequence[str]) -> Iterator[str]:
    """The names, and for one with `*` all files that it fits; the name itself where there are none."""
    for name in names:
        yield from ([file for file in held if "*" in name and fnmatchcase(file, name)] or [name])
