"""A site on this machine's own address, to look at: nobody else can reach it, and nothing but the site is given out.

Its files may come from a stranger. So no link is followed out of the folder, and each answer's header has the policy of
the pages that are written here: scripts of others do not run, whatever the file says of itself.
"""

from __future__ import annotations

import os
import re
import stat
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from harness.board.folders import INDEX
from harness.board.site.pages import data_policy, index_policy
from harness.board.site.write import DOWNLOADS, PAGES
from harness.errors import Failure

HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
}
_PATH = re.compile("|".join([re.escape(INDEX), rf"{PAGES}/\w+\.html", *map(re.escape, DOWNLOADS)]))
"""The page, its pages of data and what it offers to save: the folder of a run holds much more."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Of every answer."""
FRAMED = "frame-ancestors 'self'"
"""Where a page may be a frame, which it cannot say of itself."""
CLOSED = "default-src 'none'"
"""For what is no page, and for errors."""


def server(site: Path, port: int) -> ThreadingHTTPServer:
    """A server of the site's files, bound but not yet serving; port 0 takes a free one. Raises Failure where taken."""

    class Handler(_Handler):
        folder = site

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise Failure(f"port {port} cannot be used: {error.strerror}", "choose another with --port") from error


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    _policy = CLOSED

    def do_GET(self) -> None:
        """Give out a file of the site."""
        content = self._content()
        if content is not None:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        """Say what GET would give out."""
        self._content()

    def _content(self) -> bytes | None:
        """The file that is asked for, once the answer's head is sent; None where the answer is an error."""
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in {HOST, "localhost"}:  # another name, another site
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        name = urlsplit(self.path).path.removeprefix("/") or "index.html"
        content = _regular_file(self.folder, name) if _PATH.fullmatch(name) else None
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        self._policy = _policy(name)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[Path(name).suffix])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def end_headers(self) -> None:
        """With the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", f"{self._policy}; {FRAMED}")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the standard library's name
        """Nothing: whoever looks at a page needs no list of its files."""


def _policy(name: str) -> str:
    """What a file of the site may do, if it is a page."""
    if name == INDEX:
        return index_policy()
    return data_policy() if name.startswith(f"{PAGES}/") else CLOSED


def _regular_file(folder: Path, name: str) -> bytes | None:
    """The file of that name below the folder; None where there is none, or a link on the way to it or in its place."""
    *folders, last = name.split("/")
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for part in folders:
            place = _opened(place, part, os.O_DIRECTORY)
        file = _opened(place, last, os.O_NONBLOCK)  # a pipe would wait for its writer
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def _opened(place: int, name: str, flags: int) -> int:
    """A file or folder of an open folder, which is closed."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=place)
    finally:
        os.close(place)
