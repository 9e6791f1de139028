"""Files that no hub dataset holds, fetched from where their authors keep them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from harness.api import Upstream
from harness.canonical import file_digest
from harness.errors import Failure, UserError
from harness.files import replacing


def fetch_upstream(place: Upstream, name: str) -> Path:
    """One file in the cache of the hub's client, fetched where it is not there, and of the SHA-256 that is declared.

    A file of a commit may go without.

    Raises UserError where it cannot be fetched, Failure where another file comes.
    """
    from huggingface_hub import cached_assets_path, errors
    from huggingface_hub.file_download import http_get

    wanted = dict(zip(place.files, place.sha256, strict=False)).get(name)
    path = cached_assets_path("instruct-harness", place.id, place.revision) / name
    if path.is_file() and wanted in (None, file_digest(path)):
        return path
    url = place.url.format(revision=place.revision) + quote(name)
    transport: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                http_get(url, file, displayed_filename=name)
            if wanted not in (None, file_digest(temporary)):
                raise Failure(f"{url} is not the file that {place.id} declares", "tell its plug-in's author")
    except (transport, OSError) as error:
        said = " ".join(str(error).split("\n")[0].split())
        raise UserError(
            f"{url} cannot be fetched: {said}",
            f"connect and try again, or put its files into HARNESS_DATA_ROOT/{place.id}/",
        ) from error
    return path
