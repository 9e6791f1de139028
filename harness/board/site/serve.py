"""A site on this machine's own address, to look at: nobody else can reach it, and nothing but the site is given out."""

from __future__ import annotations

import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from harness.board.site.write import DOWNLOADS, PAGES
from harness.errors import Failure

HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
}
_PATH = re.compile("|".join([r"index\.html", rf"{PAGES}/\w+\.html", *map(re.escape, DOWNLOADS)]))
"""The page, its pages of data and what it offers to save: the folder of a run holds much more."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cache-Control": "no-cache",
}
"""What a page cannot say of itself; its own policy stands in it and holds as well."""


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
        path = self.folder / name
        try:
            content = path.read_bytes() if _PATH.fullmatch(name) else None
        except OSError:
            content = None
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[path.suffix])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def end_headers(self) -> None:
        """With the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the standard library's name
        """Nothing: whoever looks at a page needs no list of its files."""
